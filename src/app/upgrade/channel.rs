//! The private way between two processes: frames of JSON, and open sockets between them.
//!
//! It is one half of a socket pair whose other half is the started process's standard input. It has no name that
//! another process could connect to, and nothing touches a disk.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// The largest frame, bytes. A polled document of any sensible `max_body` fits; what does not is not handed over.
pub(crate) const LARGEST: usize = 256 << 20;

/// Bytes that a frame's length takes.
const LENGTH: usize = 4;

/// Space for the descriptors of one message: there is one in each.
const CONTROL: usize = rustix::cmsg_space!(ScmRights(1));

/// A finished frame.
///
/// # Errors
/// `InvalidData` above [`LARGEST`].
pub(crate) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; LENGTH];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - LENGTH;
    let head = u32::try_from(length).ok().filter(|_| length <= LARGEST);
    let head = head.ok_or_else(|| broken("a message above the limit"))?;
    let (place, _) = frame.split_at_mut(LENGTH);
    place.copy_from_slice(&head.to_be_bytes());
    Ok(frame)
}

/// Sends one message.
///
/// # Errors
/// What the system says; the other side is gone then.
pub(crate) async fn send(
    link: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    link.write_all(&frame(message)?).await
}

/// The next message; `UnexpectedEof` when there is none. Not to be dropped half-way.
///
/// # Errors
/// What the system says, or `InvalidData` where it is no such message.
pub(crate) async fn receive<T: DeserializeOwned>(
    link: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let length = link.read_u32().await? as usize;
    if length > LARGEST {
        return Err(broken("a message above the limit"));
    }
    let mut body = Vec::new();
    // Grows with what comes, not with what was announced.
    link.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Sends one open descriptor.
///
/// # Errors
/// What the system says.
pub(crate) async fn send_descriptor(
    link: &UnixStream,
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let descriptors = [descriptor];
    let sent = link.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); CONTROL];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        Ok(sendmsg(
            link.as_fd(),
            &[IoSlice::new(&[0])],
            &mut control,
            SendFlags::NOSIGNAL,
        )?)
    });
    sent.await.map(drop)
}

/// Takes the descriptor that comes next.
///
/// # Errors
/// What the system says, or `InvalidData` where there is none.
pub(crate) async fn receive_descriptor(link: &UnixStream) -> io::Result<OwnedFd> {
    let received = link.async_io(Interest::READABLE, || {
        let mut space = [MaybeUninit::uninit(); CONTROL];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let message = recvmsg(
            link.as_fd(),
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut given = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptor = given.next().and_then(|mut descriptors| descriptors.next());
        descriptor.ok_or_else(|| broken("a descriptor is missing"))
    });
    received.await
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn messages_and_descriptors_arrive_in_order() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        send(&mut here, &json!({"first": 1})).await.unwrap();
        send_descriptor(&here, listener.as_fd()).await.unwrap();
        send(&mut here, &json!("last")).await.unwrap();
        drop(here);
        let first: Value = receive(&mut there).await.unwrap();
        assert_eq!(first, json!({"first": 1}));
        let given = std::net::TcpListener::from(receive_descriptor(&there).await.unwrap());
        assert_eq!(given.local_addr().unwrap(), listener.local_addr().unwrap());
        let last: Value = receive(&mut there).await.unwrap();
        assert_eq!(last, "last");
        let end = receive::<Value>(&mut there).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error_and_takes_no_memory() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0\0\x02{",
            b"\0\0\0\x02{]",
            b"\0",
        ] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            here.write_all(bytes).await.unwrap();
            drop(here);
            assert!(receive::<Value>(&mut there).await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_descriptor_is_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"x").await.unwrap();
        assert!(receive_descriptor(&there).await.is_err());
    }
}
