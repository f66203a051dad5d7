//! What a program asks of the device's own descriptor, as `drivers/net/tun.c` answers it.

use std::io;

use hypertap_platform::process::effective_uid;
use hypertap_platform::shim::{Caller, Reply};
use nix::errno::Errno;

use super::{File, State};
use crate::shim::request::{self, Ifreq};

impl File {
    /// A request that is no `TUNSETIFF`.
    pub(super) fn ioctl(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        let done = Ok(Reply::Value(0));
        match request {
            request::TUNGETFEATURES => {
                let features = request::IFF_TUN
                    | request::IFF_TAP
                    | request::IFF_NO_PI
                    | request::IFF_ONE_QUEUE
                    | request::IFF_VNET_HDR;
                return set(caller, argument, i32::from(features));
            }
            request::TUNSETIFINDEX => {
                self.index = Some(number(caller, argument)?).filter(|index| *index > 0);
                return if self.index.is_some() { done } else { Err(Errno::EINVAL.into()) };
            }
            _ => {}
        }
        let State::Joined(joined) = &mut self.state else {
            return Err(io::Error::from_raw_os_error(request::EBADFD));
        };
        match request {
            request::TUNGETIFF => {
                let mut asked = Ifreq([0; Ifreq::LEN]);
                asked.set_name(&joined.interface.name);
                // No filter is attached to it, as the kernel says by the bit that is IFF_NO_PI elsewhere.
                asked.set_flags(joined.flags | request::IFF_NOFILTER);
                caller.write(argument, &asked.0)?;
                done
            }
            request::TUNSETPERSIST if argument != 0 => Err(refuse(request, Errno::EPERM)),
            request::TUNSETOFFLOAD if argument & !request::OFFLOADS != 0 => Err(Errno::EINVAL.into()),
            // What the program claims to take is not given to it; and whose an interface is that ends with
            // its program, nobody asks.
            request::TUNSETPERSIST
            | request::TUNSETOFFLOAD
            | request::TUNSETOWNER
            | request::TUNSETGROUP
            | request::TUNSETNOCSUM
            | request::TUNSETDEBUG
            | request::TUNSETTXFILTER
            | request::TUNSETCARRIER => done,
            request::TUNGETSNDBUF => set(caller, argument, joined.send_buffer),
            request::TUNSETSNDBUF => match number(caller, argument)? {
                ..=0 => Err(Errno::EINVAL.into()),
                bytes => {
                    joined.send_buffer = bytes;
                    done
                }
            },
            request::TUNGETVNETHDRSZ => {
                let len = joined.pump.header().virtio_size();
                set(caller, argument, i32::try_from(len).unwrap_or(i32::MAX))
            }
            request::TUNSETVNETHDRSZ => {
                let len = usize::try_from(number(caller, argument)?).unwrap_or(0);
                if joined.pump.header().set_virtio(len) { done } else { Err(Errno::EINVAL.into()) }
            }
            // Where nobody says, a header has the machine's byte order, which is that of all that we run on.
            request::TUNGETVNETLE => set(caller, argument, joined.little_endian.into()),
            request::TUNSETVNETLE => {
                joined.little_endian = number(caller, argument)? != 0;
                done
            }
            // Kernels are mostly built without it (CONFIG_TUN_VNET_CROSS_LE).
            request::TUNGETVNETBE | request::TUNSETVNETBE => Err(Errno::EINVAL.into()),
            _ => Err(refuse(request, Errno::EOPNOTSUPP)),
        }
    }

    /// A request for interfaces on this descriptor: it is about this interface, whatever name it bears.
    pub(super) fn hardware(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        if request == request::SIOCGSKNS {
            return Ok(Reply::Continue);
        }
        let mut asked = Ifreq([0; Ifreq::LEN]);
        caller.read(argument, &mut asked.0)?;
        let State::Joined(joined) = &mut self.state else {
            return Err(io::Error::from_raw_os_error(request::EBADFD));
        };
        match request {
            request::SIOCSIFHWADDR if caller.user()? != effective_uid() => return Err(Errno::EPERM.into()),
            request::SIOCGIFHWADDR | request::SIOCSIFHWADDR => {}
            _ => return Err(Errno::EINVAL.into()),
        }
        joined.interface.answer(request, &mut asked)?;
        caller.write(argument, &asked.0)?;
        Ok(Reply::Value(0))
    }

    /// What a write of no bytes fails with, by which some programs tell whether there is an interface.
    pub(super) fn write_nothing(&self) -> io::Error {
        match &self.state {
            State::Joined(_) => Errno::EINVAL.into(),
            State::Open | State::Joining(_) => io::Error::from_raw_os_error(request::EBADFD),
        }
    }
}

/// Says what is not done.
fn refuse(request: u32, errno: Errno) -> io::Error {
    let call = request::name(request);
    let why = match request {
        request::TUNSETPERSIST => ": an interface of the shim ends with its program",
        request::TUNSETQUEUE => ": an interface of the shim has one queue",
        _ => "",
    };
    tracing::warn!("{call} is not supported{why}");
    errno.into()
}

fn number(caller: &dyn Caller, address: u64) -> io::Result<i32> {
    let mut bytes = [0; 4];
    caller.read(address, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

fn set(caller: &dyn Caller, address: u64, number: i32) -> io::Result<Reply> {
    caller.write(address, &number.to_ne_bytes())?;
    Ok(Reply::Value(0))
}
