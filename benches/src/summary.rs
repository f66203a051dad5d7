//! Samples to a verdict: medians, ratios of pairs, and what is wanted.

use serde_json::{Value, json};

/// What a row must show.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// The median of the pairs' ratios, ours to the reference, is at least this.
    Ratio(f64),
    /// The median of the pairs' differences, ours less the reference, is at most this.
    Excess(f64),
    /// Our median is not below the reference's lowest sample.
    WithinSpread,
    /// Our median is below this.
    Below(f64),
    /// Our median is at most this.
    AtMost(f64),
    /// Our median is at least this.
    AtLeast(f64),
}

/// One line of the table.
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    wanted: Wanted,
    /// Samples of the C program, one a pair.
    pub(crate) reference: Vec<f64>,
    /// Samples of hypertap, one a pair.
    pub(crate) ours: Vec<f64>,
    /// Pairs during which a compiler ran on the machine.
    pub(crate) noisy: u32,
}

impl Row {
    pub(crate) fn new(name: String, unit: &'static str, wanted: Wanted) -> Self {
        Self { name, unit, wanted, reference: Vec::new(), ours: Vec::new(), noisy: 0 }
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.reference).map(|(ours, reference)| ours / reference).collect()
    }

    fn excesses(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.reference).map(|(ours, reference)| ours - reference).collect()
    }

    /// None when ours, or what it is held against, was not measured.
    fn met(&self) -> Option<bool> {
        let ours = median(&self.ours)?;
        match self.wanted {
            Wanted::Ratio(least) => Some(median(&self.ratios())? >= least),
            Wanted::Excess(most) => Some(median(&self.excesses())? <= most),
            Wanted::WithinSpread => Some(ours >= self.reference.iter().copied().reduce(f64::min)?),
            Wanted::Below(limit) => Some(ours < limit),
            Wanted::AtMost(limit) => Some(ours <= limit),
            Wanted::AtLeast(limit) => Some(ours >= limit),
        }
    }

    /// Name, reference, ours, ratio, wanted, verdict, as a line of a markdown table.
    pub(crate) fn markdown(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(", {}", self.unit) };
        let wanted = match self.wanted {
            Wanted::Ratio(least) => format!("≥ {least:.2}"),
            Wanted::Excess(most) => format!("≤ +{most}"),
            Wanted::WithinSpread => "within the spread".to_owned(),
            Wanted::Below(limit) => format!("< {limit}"),
            Wanted::AtMost(limit) => format!("≤ {limit}"),
            Wanted::AtLeast(limit) => format!("≥ {limit}"),
        };
        let verdict = match self.met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        let (reference, ours) = (spread(&self.reference), spread(&self.ours));
        format!(
            "| {}{unit} | {reference} | {ours} | {} | {wanted} | {verdict} |\n",
            self.name,
            spread(&self.ratios())
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "reference": self.reference, "ours": self.ours,
            "ratios": self.ratios(), "medianRatio": median(&self.ratios()), "met": self.met(), "noisyPairs": self.noisy,
        })
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[middle - 1], upper)) }
}

/// Median and range.
fn spread(samples: &[f64]) -> String {
    let range = samples.iter().copied().reduce(f64::min).zip(samples.iter().copied().reduce(f64::max));
    match median(samples).zip(range) {
        Some((middle, _)) if samples.len() == 1 => digits(middle),
        Some((middle, (least, most))) => format!("{} ({}..{})", digits(middle), digits(least), digits(most)),
        None => "–".to_owned(),
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_samples_has_the_mean_of_the_middle_two_as_median() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_verdict_is_by_the_ratio_of_each_pair_not_by_the_ratio_of_medians() {
        let mut row = Row::new("x".into(), "", Wanted::Ratio(0.9));
        row.reference = vec![1.0, 2.0, 4.0];
        row.ours = vec![0.95, 1.0, 4.0];
        assert_eq!(row.met(), Some(true)); // pairs 0.95, 0.5, 1.0; medians would say 1.0 / 2.0
    }

    #[test]
    fn an_excess_is_by_the_difference_of_each_pair() {
        let mut row = Row::new("x".into(), "µs", Wanted::Excess(20.0));
        row.reference = vec![50.0, 100.0, 100.0];
        row.ours = vec![90.0, 120.0, 119.0];
        assert_eq!(row.met(), Some(true));
        row.ours = vec![71.0, 121.0, 90.0];
        assert_eq!(row.met(), Some(false));
    }

    #[test]
    fn below_the_lowest_reference_sample_is_outside_the_spread() {
        let mut row = Row::new("x".into(), "", Wanted::WithinSpread);
        row.reference = vec![3.0, 2.0, 4.0];
        row.ours = vec![1.9, 1.9, 9.0];
        assert_eq!(row.met(), Some(false));
        row.ours = vec![2.0, 1.0, 9.0];
        assert_eq!(row.met(), Some(true));
    }

    #[test]
    fn without_ours_there_is_no_verdict() {
        let mut row = Row::new("x".into(), "Gbit/s", Wanted::Ratio(0.9));
        row.reference = vec![1.0];
        assert_eq!(row.markdown(), "| x, Gbit/s | 1.00 | – | – | ≥ 0.90 | not measured |\n");
    }
}
