//! Frames: `length (u32, big endian, of what follows) | kind (u8) | payload`.
//!
//! They map one to one onto the messages of a client's WebSocket: control is text, data is binary with the channel
//! in front.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};
use wharf_protocol::stream::{Channel, MAX_MESSAGE};

/// Largest payload of one frame: a client's largest message.
pub const MAX_FRAME: usize = MAX_MESSAGE + 1024;
const CONTROL: u8 = 16;

/// One message on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a channel.
    Data(Channel, Bytes),
    /// A JSON document.
    Control(Bytes),
}

/// What ends a stream.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The transport.
    #[error("the stream broke: {0}")]
    Io(#[from] std::io::Error),
    /// A frame that breaks the rules.
    #[error("a bad frame: {0}")]
    Bad(&'static str),
    /// A document that is not the expected one.
    #[error("a bad message: {0}")]
    Json(#[from] serde_json::Error),
    /// Nothing more comes.
    #[error("the stream is over")]
    Over,
}

impl Frame {
    /// A control frame.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json<T: serde::Serialize>(value: &T) -> Result<Self, FrameError> {
        Ok(Self::Control(serde_json::to_vec(value)?.into()))
    }

    /// As a client's binary message: the channel's byte, then the data.
    pub fn binary(channel: Channel, data: &[u8]) -> Bytes {
        let mut message = BytesMut::with_capacity(1 + data.len());
        message.put_u8(channel as u8);
        message.extend_from_slice(data);
        message.freeze()
    }

    /// From a client's binary message; `None` for an unknown channel or an empty message.
    pub fn from_binary(mut message: Bytes) -> Option<Self> {
        let channel = Channel::from_byte(*message.first()?)?;
        message.advance(1);
        Some(Self::Data(channel, message))
    }
}

/// Reads and writes frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codec;

impl Encoder<Frame> for Codec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, to: &mut BytesMut) -> Result<(), FrameError> {
        let (kind, payload) = match frame {
            Frame::Data(channel, payload) => (channel as u8, payload),
            Frame::Control(payload) => (CONTROL, payload),
        };
        if payload.len() > MAX_FRAME {
            return Err(FrameError::Bad("too large"));
        }
        to.reserve(5 + payload.len());
        to.put_u32(u32::try_from(payload.len() + 1).map_err(|_| FrameError::Bad("too large"))?);
        to.put_u8(kind);
        to.extend_from_slice(&payload);
        Ok(())
    }
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = from.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MAX_FRAME + 1 {
            return Err(FrameError::Bad("of a length that is not allowed"));
        }
        if from.len() < 4 + length {
            // Room for what was announced is made as it comes, not because it was announced.
            return Ok(None);
        }
        from.advance(4);
        let kind = from.get_u8();
        let payload = from.split_to(length - 1).freeze();
        match (kind, Channel::from_byte(kind)) {
            (CONTROL, _) => Ok(Some(Frame::Control(payload))),
            (_, Some(channel)) => Ok(Some(Frame::Data(channel, payload))),
            (_, None) => Err(FrameError::Bad("of an unknown kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let frames = [
            Frame::Control(Bytes::from_static(b"{\"eof\":true}")),
            Frame::Data(Channel::Stdout, Bytes::from_static(b"hello")),
            Frame::Data(Channel::Stdin, Bytes::new()),
        ];
        let mut whole = BytesMut::new();
        for frame in &frames {
            Codec.encode(frame.clone(), &mut whole).unwrap();
        }
        for cut in 0..=whole.len() {
            let mut seen = Vec::new();
            let mut buffer = BytesMut::from(&whole[..cut]);
            while let Some(frame) = Codec.decode(&mut buffer).unwrap() {
                seen.push(frame);
            }
            buffer.extend_from_slice(&whole[cut..]);
            while let Some(frame) = Codec.decode(&mut buffer).unwrap() {
                seen.push(frame);
            }
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn bad_frames_are_refused() {
        for bad in [&[0, 0, 0, 0][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 1, 9]] {
            assert!(Codec.decode(&mut BytesMut::from(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(Frame::from_binary(Bytes::new()), None);
        assert_eq!(Frame::from_binary(Bytes::from_static(&[7, 1])), None);
    }
}
