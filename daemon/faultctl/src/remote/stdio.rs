//! The other end of `-H`: carries D-Bus between standard input and output and the daemon of this machine. It
//! authenticates itself first, as who it is; whoever is at the far end has logged in as that user.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    thread,
    time::Duration,
};

use crate::{
    command_error::CommandError,
    connection::{BusAddress, open},
};

/// Who accepts and then says nothing is no daemon.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(10);
/// An answer of the handshake is a word and a number.
const LONGEST_LINE: usize = 1024;
/// The socket of the system bus, where the environment names no other.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Carries bytes both ways until either end closes.
///
/// # Errors
/// When there is no daemon, or it does not let this user in.
pub(crate) fn serve(bus: &BusAddress) -> Result<(), CommandError> {
    let path = match bus {
        BusAddress::Socket(path) => path.clone(),
        BusAddress::System => system_bus(std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok().as_deref()),
        BusAddress::Remote(_) => {
            return Err(CommandError::Usage("a bridge leads to this machine".to_owned()));
        }
    };
    let mut daemon = open(&path)?;
    let address = path.display().to_string();
    authenticate(&mut daemon)
        .map_err(|error| CommandError::Unreachable { address, reason: error.to_string() })?;
    let failed = |source| CommandError::File { action: "use stdin and stdout".to_owned(), source };
    let own = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
    let (mut input, mut output) = (own(&io::stdin()).map_err(failed)?, own(&io::stdout()).map_err(failed)?);
    let mut to_daemon = UnixStream::from(OwnedFd::from(daemon.try_clone().map_err(failed)?));
    thread::spawn(move || {
        carry(&mut input, &mut to_daemon);
        // Nobody is left who could read an answer.
        let _ = to_daemon.shutdown(Shutdown::Both);
    });
    carry(&mut daemon, &mut output);
    Ok(())
}

/// An end that is gone is the end, however it went.
fn carry(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// The socket that an address of the system bus names first.
fn system_bus(address: Option<&str>) -> PathBuf {
    let path = address.and_then(|address| {
        let first = address.split([';', ',']).next()?;
        first.strip_prefix("unix:path=")
    });
    path.unwrap_or(SYSTEM_BUS).into()
}

/// The client's part of the handshake of the D-Bus specification, without descriptors: they could not travel further.
fn authenticate(stream: &mut UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LONGEST_HANDSHAKE))?;
    let user = rustix::process::geteuid().as_raw().to_string();
    let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
    let answer = read_line(stream)?;
    if !answer.starts_with("OK ") {
        return Err(io::Error::other(format!("it does not let this user in ({answer})")));
    }
    stream.write_all(b"BEGIN\r\n")?;
    stream.set_read_timeout(None)
}

/// Byte by byte: what follows the line is not ours.
fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
        if line.len() > LONGEST_LINE {
            return Err(io::Error::other("what answers there does not speak D-Bus"));
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_bus_is_where_the_environment_says() {
        assert_eq!(system_bus(None), PathBuf::from(SYSTEM_BUS));
        assert_eq!(system_bus(Some("unix:path=/tmp/bus,guid=1;tcp:x")), PathBuf::from("/tmp/bus"));
        assert_eq!(system_bus(Some("tcp:host=x")), PathBuf::from(SYSTEM_BUS));
    }

    #[test]
    fn the_handshake_takes_no_byte_of_what_follows() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"OK 0123456789abcdef\r\nl\x01more").unwrap();
        authenticate(&mut here).unwrap();
        let mut sent = [0; 64];
        let length = there.read(&mut sent).unwrap();
        let sent = String::from_utf8_lossy(&sent[..length]).into_owned();
        assert!(sent.starts_with("\0AUTH EXTERNAL "), "{sent:?}");
        let mut rest = [0; 6];
        here.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"l\x01more");
    }

    #[test]
    fn who_is_refused_is_told_so() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        let refused = authenticate(&mut here).unwrap_err();
        assert_eq!(refused.to_string(), "it does not let this user in (REJECTED EXTERNAL)");
        let mut endless: &[u8] = &[b'x'; 4096];
        assert!(read_line(&mut endless).is_err());
    }

    #[test]
    fn bytes_are_carried_until_the_end() {
        let mut carried = Vec::new();
        carry(&mut [7_u8; 100_000].as_slice(), &mut carried);
        assert_eq!(carried, [7; 100_000]);
    }
}
