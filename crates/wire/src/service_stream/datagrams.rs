//! What a UDP service's stream of `/hypertap/service/1` carries after the reply.

/// The length in bytes of the length before an item.
const LENGTH: usize = 2;
/// The longest datagram's data, in bytes: a packet's payload is 65,535 bytes at most, its header among them
/// (RFC 768, RFC 8200).
pub const MAX_DATAGRAM: usize = 65_527;
/// The length that stands for [`Item::Refused`].
const REFUSED: u16 = u16::MAX;

/// What is on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A datagram's data, of at most [`MAX_DATAGRAM`] bytes.
    Datagram(&'a [u8]),
    /// Nobody at the target takes datagrams: an earlier one was answered with port unreachable.
    Refused,
}

/// A length that no item has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's datagram is {0} bytes long: expected at most {MAX_DATAGRAM}")]
pub struct DatagramTooLong(pub usize);

impl<'a> Item<'a> {
    /// The item that `bytes` begin with, and what follows it; nothing when it is not whole.
    ///
    /// # Errors
    /// There is no such item.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, DatagramTooLong> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u16::from_be_bytes(*length);
        if length == REFUSED {
            return Ok(Some((Self::Refused, rest)));
        }
        let length = usize::from(length);
        if length > MAX_DATAGRAM {
            return Err(DatagramTooLong(length));
        }
        Ok(rest.split_at_checked(length).map(|(data, rest)| (Self::Datagram(data), rest)))
    }

    /// Its length on the stream, in bytes.
    pub fn encoded_len(self) -> usize {
        LENGTH + self.data().len()
    }

    /// Appends it to `bytes`. Nothing is written of a datagram that is too long.
    pub fn write(self, bytes: &mut Vec<u8>) {
        let length = match self {
            Self::Datagram(data) => u16::try_from(data.len()).ok().filter(|_| data.len() <= MAX_DATAGRAM),
            Self::Refused => Some(REFUSED),
        };
        if let Some(length) = length {
            bytes.extend(length.to_be_bytes());
            bytes.extend_from_slice(self.data());
        }
    }

    fn data(self) -> &'a [u8] {
        match self {
            Self::Datagram(data) => data,
            Self::Refused => &[],
        }
    }
}

/// Reads items in whatever pieces they come. It holds at most one, and nothing between two.
#[derive(Debug, Default)]
pub struct ItemReader {
    begun: Vec<u8>,
}

impl ItemReader {
    /// A reader at the beginning of an item.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the stream's next bytes, and hands each item that is whole to `each`.
    ///
    /// # Errors
    /// What follows is no item: the stream is of no use any more.
    pub fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Item<'_>)) -> Result<(), DatagramTooLong> {
        while !bytes.is_empty() {
            if self.begun.is_empty() {
                let Some((item, rest)) = Item::split(bytes)? else {
                    self.begun.extend_from_slice(bytes);
                    return Ok(());
                };
                each(item);
                bytes = rest;
                continue;
            }
            let (taken, rest) = bytes.split_at(self.missing().min(bytes.len()));
            self.begun.extend_from_slice(taken);
            bytes = rest;
            if let Some((item, _)) = Item::split(&self.begun)? {
                each(item);
                self.begun = Vec::new();
            }
        }
        Ok(())
    }

    /// How many bytes are surely still of the item that has begun.
    fn missing(&self) -> usize {
        let body = self.begun.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        (LENGTH + body).saturating_sub(self.begun.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], size: usize) -> Result<Vec<Option<Vec<u8>>>, DatagramTooLong> {
        let (mut reader, mut items) = (ItemReader::new(), Vec::new());
        for piece in bytes.chunks(size) {
            reader.read(piece, |item| {
                items.push(match item {
                    Item::Datagram(data) => Some(data.to_vec()),
                    Item::Refused => None,
                });
            })?;
        }
        Ok(items)
    }

    #[test]
    fn a_length_beyond_the_longest_datagram_is_no_item() {
        for length in [65_528_u16, 65_534] {
            assert_eq!(read(&length.to_be_bytes(), 1), Err(DatagramTooLong(length.into())));
        }
        let mut longest = Vec::new();
        Item::Datagram(&vec![7; MAX_DATAGRAM]).write(&mut longest);
        assert_eq!(read(&longest, 1000), Ok(vec![Some(vec![7; MAX_DATAGRAM])]));
        let mut nothing = Vec::new();
        Item::Datagram(&vec![7; MAX_DATAGRAM + 1]).write(&mut nothing);
        assert!(nothing.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            items in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            size in 1_usize..100,
        ) {
            let mut bytes = Vec::new();
            for item in &items {
                item.as_deref().map_or(Item::Refused, Item::Datagram).write(&mut bytes);
            }
            prop_assert_eq!(read(&bytes, size), Ok(items));
        }

        #[test]
        fn the_cuts_make_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..50) {
            prop_assert_eq!(read(&bytes, size), read(&bytes, bytes.len().max(1)));
        }
    }
}
