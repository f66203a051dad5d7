//! The side of the packets, outwards.

use std::time::Duration;

use hypertap_wire::batch::Batch;
use hypertap_wire::offload::{GsoType, VirtioHeader};

use super::device::MAX_FRAME;
use super::flow::{Flow, State};
use super::segment::{CHECKSUM_AT, TCP_HEADER, after, checksum};
use super::{FlowId, Tcp};

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;

impl Tcp {
    /// Appends what is to be sent, as far as there is room for the longest packet ([`super::MAX_PACKET`]). With
    /// offload, each packet's virtio-net header is written into the batch's prefix, which must be
    /// [`VirtioHeader::LEN`] long. Flows take turns, a segment each. Returns whether there is more to send.
    pub fn poll_transmit(&mut self, now: Duration, batch: &mut Batch) -> bool {
        while batch.packets_left() > 0 && batch.left() >= MAX_FRAME + batch.prefix() {
            if let Some(reply) = self.replies.pop_front() {
                let at = batch.len();
                batch.push(&reply);
                self.prepend(batch, at, &VirtioHeader::default());
                continue;
            }
            let Some(id) = self.dirty.pop_front() else { break };
            if self.transmit(now, id, batch) {
                self.dirty.push_back(id);
            } else if let Some(flow) = self.table.get_mut(id) {
                flow.marks.dirty = false;
                self.rest(now, id);
            }
        }
        self.wants_transmit()
    }

    /// Appends a flow's next packet, if it has one.
    fn transmit(&mut self, now: Duration, id: FlowId, batch: &mut Batch) -> bool {
        let offload = self.settings.offload;
        let Some(Flow { key, options, state: State::Open(Some(live)), snd_max, .. }) = self.table.get_mut(id)
        else {
            return false;
        };
        let (at, room) = (batch.len(), batch.room());
        let Some((len, next)) = self.stack.transmit(now, live, key, *options, room) else { return false };
        if after(next, *snd_max) {
            *snd_max = next;
        }
        let Some(packet) = room.get_mut(..len) else { return false };
        checksum(packet, key, offload);
        let ip = key.ip_header();
        let headers = ip + packet.get(ip + 12).map_or(TCP_HEADER, |words| usize::from(words >> 4) * 4);
        let mut header = VirtioHeader {
            flags: NEEDS_CSUM,
            hdr_len: u16::try_from(headers).unwrap_or(0),
            csum_start: u16::try_from(ip).unwrap_or(0),
            csum_offset: u16::try_from(CHECKSUM_AT).unwrap_or(0),
            ..VirtioHeader::default()
        };
        if len - headers.min(len) > usize::from(options.mss) {
            header.gso_type = if key.is_v4() { GsoType::TcpV4 as u8 } else { GsoType::TcpV6 as u8 };
            header.gso_size = options.mss;
        }
        batch.commit(len);
        self.prepend(batch, at, &header);
        true
    }

    /// Writes a packet's virtio-net header, if the device wants one.
    fn prepend(&self, batch: &mut Batch, at: usize, header: &VirtioHeader) {
        if self.settings.offload
            && let Some(prefix) = batch.prefix_mut(at).and_then(|prefix| prefix.first_chunk_mut())
        {
            *prefix = header.emit();
        }
    }

    /// Sees what a flow does next that has nothing to send now.
    pub(super) fn rest(&mut self, now: Duration, id: FlowId) {
        self.react(now, id);
        let Some(flow) = self.table.get_mut(id) else { return };
        if flow.is_quiet() && !flow.marks.warm {
            flow.marks.warm = true;
            self.warm.push_back(id);
        }
        self.mend(now, id);
        let mut deadline = self.deadline(now, id);
        let Some(flow) = self.table.get_mut(id) else { return };
        if let State::Open(Some(live)) = &flow.state
            && let Some(at) = self.stack.poll_at(now, live)
        {
            // smoltcp wants nothing now, for it was just asked: do not spin.
            let at = at.max(now + Duration::from_millis(1));
            deadline = Some(deadline.map_or(at, |deadline| deadline.min(at)));
        }
        self.timers.set(id, deadline, &mut flow.queued);
        self.cool(self.settings.warm_flows);
    }

    /// Sets a socket going again that has something to send, and no timer.
    fn mend(&mut self, now: Duration, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let State::Open(Some(live)) = &flow.state else { return };
        if flow.all_acknowledged() || self.stack.poll_at(now, live).is_some() {
            return;
        }
        if !flow.waits_for_fin_alone() {
            return flow.remind(&mut self.stack, now);
        }
        // smoltcp takes the timer from a FIN that is alone in flight when it is told of a loss, and
        // then has nothing to send. What came out of order is lost with the socket, and sent again.
        let class = live.class;
        flow.marks.finished = false;
        let renewed = flow.unfold(&mut self.stack, now, class);
        flow.close();
        if let Some((Some(former), _)) = renewed {
            self.stack.recycle(former);
        }
        self.mark_dirty(id);
    }
}
