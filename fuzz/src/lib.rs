//! What the fuzz targets share: a reader of their input, and the internet checksum written a
//! second time, slowly and plainly, to hold the fast one against.

/// Takes an input apart from its front. Past its end everything reads as zero or nothing.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes, big-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    /// The next `len` bytes, or as many as there are.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The one's complement sum of 16-bit words (RFC 1071), folded; an odd last byte has a zero after it.
pub fn plain_sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for piece in pieces {
        for word in piece.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    u16::try_from(sum).expect("folded at each step")
}

/// TCP's and UDP's numbers.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// Where the transport header of a packet without IPv6 extensions begins, and its protocol.
pub fn transport(packet: &[u8]) -> Option<(usize, u8)> {
    match packet.first()? >> 4 {
        4 => Some((usize::from(packet[0] & 15) * 4, *packet.get(9)?)),
        6 => Some((40, *packet.get(6)?)),
        _ => None,
    }
}

/// The folded sum over pseudo-header and transport (RFC 9293 3.1, RFC 8200 8.1): 0xffff when the
/// checksum in it is right.
pub fn transport_sum(packet: &[u8]) -> Option<u16> {
    let (at, protocol) = transport(packet)?;
    let addresses = if packet[0] >> 4 == 4 { packet.get(12..20)? } else { packet.get(8..40)? };
    let body = packet.get(at..)?;
    let len = u16::try_from(body.len()).ok()?.to_be_bytes();
    Some(plain_sum(&[addresses, &[0, protocol], &len, body]))
}

/// Where the transport checksum of a TCP or UDP packet is.
pub fn transport_checksum(packet: &[u8]) -> Option<usize> {
    let (at, protocol) = transport(packet)?;
    let field = match protocol {
        TCP => at + 16,
        UDP => at + 6,
        _ => return None,
    };
    (packet.len() >= field + 2).then_some(field)
}

/// Makes lengths and checksums of a packet right, as far as it has the fields.
pub fn seal(packet: &mut [u8]) {
    let Ok(len) = u16::try_from(packet.len()) else { return };
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 => packet[2..4].copy_from_slice(&len.to_be_bytes()),
        Some(6) if packet.len() >= 40 => packet[4..6].copy_from_slice(&(len - 40).to_be_bytes()),
        _ => return,
    }
    if let Some((at, UDP)) = transport(packet)
        && packet.len() >= at + 8
    {
        let udp_len = len - u16::try_from(at).expect("at most 60");
        packet[at + 4..at + 6].copy_from_slice(&udp_len.to_be_bytes());
    }
    let header = usize::from(packet[0] & 15) * 4;
    if packet[0] >> 4 == 4 && (20..=packet.len()).contains(&header) {
        packet[10..12].fill(0);
        let checksum = !plain_sum(&[&packet[..header]]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    if let Some(field) = transport_checksum(packet) {
        packet[field..field + 2].fill(0);
        let checksum = !transport_sum(packet).expect("there is a transport header");
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        packet[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}
