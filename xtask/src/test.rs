//! `cargo xtask test`: everything that CI runs, in order, until the first failure.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::left_out::LeftOut;
use crate::process::within;
use crate::steps::{STEPS, Step};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave the slow steps out
    #[arg(long)]
    quick: bool,

    /// Run only these steps (see --list); may be given several times
    #[arg(long, value_name = "STEP", value_delimiter = ',', conflicts_with = "quick")]
    only: Vec<String>,

    /// Say what the steps are, and run none
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(options: &Options, left_out: LeftOut) -> ExitCode {
    if options.list {
        for step in STEPS {
            println!(
                "{:<9} {}{}",
                step.name,
                step.what,
                if step.is_slow { " (not with --quick)" } else { "" }
            );
        }
        return ExitCode::SUCCESS;
    }
    let verdict = match chosen(STEPS, options) {
        Ok(steps) => run_steps(&steps, left_out),
        Err(error) => Verdict { line: format!("{error:#}"), is_good: false },
    };
    if verdict.is_good {
        println!("{}", verdict.line);
        ExitCode::SUCCESS
    } else {
        eprintln!("{}", verdict.line);
        ExitCode::FAILURE
    }
}

/// The steps that the options ask for, in the order in which they always run.
fn chosen<'a>(steps: &'a [Step], options: &Options) -> Result<Vec<&'a Step>> {
    for name in &options.only {
        if !steps.iter().any(|step| step.name == name) {
            let names: Vec<_> = steps.iter().map(|step| step.name).collect();
            bail!("no step is named {name}: the steps are {}", names.join(" "));
        }
    }
    let is_chosen = |step: &&Step| {
        if options.only.is_empty() {
            !(options.quick && step.is_slow)
        } else {
            options.only.iter().any(|n| n == step.name)
        }
    };
    Ok(steps.iter().filter(is_chosen).collect())
}

/// The last line of a run.
#[derive(Debug)]
struct Verdict {
    line: String,
    is_good: bool,
}

fn run_steps(steps: &[&Step], mut left_out: LeftOut) -> Verdict {
    let start = Instant::now();
    for (passed, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {}: {}", passed + 1, steps.len(), step.name, step.what);
        let step_start = Instant::now();
        let result = within(step.limit, || (step.run)(&mut left_out));
        let seconds = step_start.elapsed().as_secs_f64();
        if let Err(error) = result {
            let name = step.name;
            let again = format!("run it alone with `cargo xtask test --only {name}`");
            let line =
                format!("{passed} passed, 1 failed: {name}, after {seconds:.1} s: {error:#} ({again})");
            return Verdict { line, is_good: false };
        }
        println!("=== {} passed in {seconds:.1} s", step.name);
    }
    println!("\nall steps took {:.0} s", start.elapsed().as_secs_f64());
    let is_run = |name| steps.iter().any(|step| step.name == name);
    let not_run: Vec<_> = STEPS.iter().map(|step| step.name).filter(|name| !is_run(*name)).collect();
    if !not_run.is_empty() {
        println!("not run: {}", not_run.join(" "));
    }
    for what in left_out.entries() {
        println!("left out: {what}");
    }
    Verdict { line: format!("{} passed, 0 failed", steps.len()), is_good: true }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::{command, run as run_command};

    const fn step(name: &'static str, is_slow: bool, run: fn(&mut LeftOut) -> Result<()>) -> Step {
        Step { name, what: "is tried", is_slow, limit: Duration::from_secs(1), run }
    }

    const GOOD: Step = step("good", false, |_| Ok(()));
    const BAD: Step = step("bad", true, |_| bail!("the reason"));
    const LAST: Step = step("last", false, |_| panic!("reached"));
    const LACKING: Step = step("lacking", false, |l| l.missing("no tool"));
    const HANGING: Step = step("hanging", false, |_| run_command(command("sleep").arg("1000")));

    fn options(quick: bool, only: &[&str]) -> Options {
        Options { quick, only: only.iter().map(ToString::to_string).collect(), list: false }
    }

    #[test]
    fn a_run_stops_at_the_first_failure_and_names_it() {
        let verdict = run_steps(&[&GOOD, &BAD, &LAST], LeftOut::new(true));
        assert!(!verdict.is_good);
        assert!(verdict.line.starts_with("1 passed, 1 failed: bad, after"), "{}", verdict.line);
        assert!(verdict.line.contains("the reason"), "{}", verdict.line);
        assert!(!verdict.line.contains('\n'));
    }

    #[test]
    fn a_step_that_hangs_fails_and_is_named() {
        let begin = Instant::now();
        let verdict = run_steps(&[&HANGING, &LAST], LeftOut::new(true));
        let took = begin.elapsed();
        let seconds = verdict.line.strip_prefix("0 passed, 1 failed: hanging, after ");
        let seconds = seconds.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        let said = seconds.unwrap_or_else(|| panic!("{}", verdict.line));
        // Not before its time, and it says what it took, which is up to the machine; far less than it sleeps.
        assert!(
            (HANGING.limit.as_secs_f64()..took.as_secs_f64() + 0.1).contains(&said),
            "{said} s of {took:?}"
        );
        assert!(took < Duration::from_secs(500), "{took:?}");
        assert!(verdict.line.contains("`sleep 1000` took too long and was killed"), "{}", verdict.line);
    }

    #[test]
    fn a_good_run_ends_with_the_count() {
        let verdict = run_steps(&[&GOOD, &GOOD], LeftOut::new(true));
        assert!(verdict.is_good);
        assert_eq!(verdict.line, "2 passed, 0 failed");
    }

    #[test]
    fn a_missing_tool_fails_the_run_in_ci_only() {
        assert!(!run_steps(&[&LACKING], LeftOut::new(true)).is_good);
        assert!(run_steps(&[&LACKING], LeftOut::new(false)).is_good);
    }

    #[test]
    fn quick_leaves_the_slow_steps_out_and_only_takes_what_it_names() {
        let steps = [GOOD, BAD, LACKING];
        let names = |options| -> Vec<_> {
            chosen(&steps, &options).expect("known names").iter().map(|step| step.name).collect()
        };
        assert_eq!(names(options(false, &[])), ["good", "bad", "lacking"]);
        assert_eq!(names(options(true, &[])), ["good", "lacking"]);
        assert_eq!(names(options(false, &["lacking", "bad"])), ["bad", "lacking"]);
    }

    #[test]
    fn a_step_that_is_not_there_is_no_run_of_nothing() {
        let error = chosen(&[GOOD], &options(false, &["god"])).expect_err("no such step");
        assert_eq!(error.to_string(), "no step is named god: the steps are good");
    }

    #[test]
    fn every_step_has_its_own_name() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
