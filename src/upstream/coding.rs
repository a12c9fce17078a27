//! Answers that a backend has compressed although crossfade did not ask for that (`Content-Encoding`).

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use hyper::body::{Body as _, Frame};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::{HeaderMap, Response};
use tokio::io::{AsyncBufReadExt, AsyncRead};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::Error;
use crate::http::body::Body;

/// Codings one over the other; each holds a window of its own.
const MOST: usize = 2;

/// What comes of a decoder at once. The caller counts the pieces against a limit, so that a small answer
/// that unfolds into a large one never stands in memory whole.
const PIECE: usize = 16 << 10;

/// Codings that are registered, or were in use, and are not undone here. Other words say nothing about
/// the content, such as `none`, `utf-8` or `binary`: then it is what it is.
const FOREIGN: [&str; 17] = [
    "aes128gcm",
    "bzip2",
    "compress",
    "dcb",
    "dcz",
    "exi",
    "lz4",
    "lzma",
    "pack200-gzip",
    "sdch",
    "snappy",
    "x-bzip",
    "x-bzip2",
    "x-compress",
    "x-snappy",
    "xz",
    "zstd",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The answer with its content as it was before it was compressed, piece by piece as the backend flushes it.
/// `broke` makes the error of content that is not what its head says.
///
/// `Content-Encoding` is removed, except where it names what cannot be undone: then the answer stays as it is.
pub(crate) fn decoded<B>(mut answer: Response<Body>, broke: B) -> Response<Body>
where
    B: Fn(String) -> Error + Send + 'static,
{
    let headers = answer.headers_mut();
    if !headers.contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let Some(codings) = codings(headers) else {
        return answer;
    };
    headers.remove(CONTENT_ENCODING);
    if codings.is_empty() || answer.body().is_end_stream() {
        return answer;
    }
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer.map(|body| {
        let pieces: Pieces = Box::pin(BodyDataStream::new(body).map_err(io::Error::other));
        // The one that was applied last comes off first.
        let pieces = codings.into_iter().rev().fold(pieces, undone);
        let frames = pieces.map(move |piece| match piece {
            Ok(bytes) => Ok(Frame::data(bytes)),
            Err(error) => Err(error
                .downcast::<Error>()
                .unwrap_or_else(|error| broke(format!("the content cannot be decoded: {error}")))),
        });
        StreamBody::new(frames).boxed_unsync()
    })
}

/// The codings of the content, in the order in which they were applied; `None` where one of them cannot be undone, or
/// there are too many.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let words = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let mut codings = Vec::new();
    for word in words {
        let word = String::from_utf8_lossy(word).to_ascii_lowercase();
        let word = word.trim_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\''));
        codings.push(match word {
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            _ if FOREIGN.contains(&word) => return None,
            _ => continue,
        });
    }
    (codings.len() <= MOST).then_some(codings)
}

fn undone(pieces: Pieces, coding: Coding) -> Pieces {
    Box::pin(stream::once(undo(pieces, coding)).try_flatten())
}

/// Takes one coding off, once the content begins. No content at all is no content in any coding.
async fn undo(pieces: Pieces, coding: Coding) -> io::Result<Pieces> {
    let mut reader = StreamReader::new(pieces);
    let Some(first) = reader.fill_buf().await?.first().copied() else {
        return Ok(Box::pin(stream::empty()));
    };
    Ok(match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            // A flush may end one and begin the next.
            decoder.multiple_members(true);
            in_pieces(decoder)
        }
        // Meant is zlib (RFC 9110, section 8.4.1.2), and some servers leave its head away. A raw beginning never looks like it:
        // of a stored block these bits are padding.
        Coding::Deflate if first & 0x0f == 8 => in_pieces(ZlibDecoder::new(reader)),
        Coding::Deflate => in_pieces(DeflateDecoder::new(reader)),
        Coding::Brotli => in_pieces(BrotliDecoder::new(reader)),
    })
}

fn in_pieces(decoder: impl AsyncRead + Send + 'static) -> Pieces {
    Box::pin(ReaderStream::with_capacity(decoder, PIECE))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_compression::tokio::write::{
        BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder,
    };
    use hyper::header::HeaderValue;
    use tokio::io::{AsyncWrite, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::error::ErrorKind;
    use crate::http::body::full;

    const TEXT: &[u8] = br#"{"greeting": "hello, hello, hello"}"#;

    fn answer(codings: &[&'static str], body: impl Into<Bytes>) -> Response<Body> {
        let mut answer = Response::new(full(body));
        for coding in codings {
            let value = HeaderValue::from_static(coding);
            answer.headers_mut().append(CONTENT_ENCODING, value);
        }
        answer
    }

    fn broke(detail: String) -> Error {
        Error::upstream(ErrorKind::Broken, detail)
    }

    async fn read(answer: Response<Body>) -> Result<Bytes, Error> {
        let body = decoded(answer, broke).into_body();
        body.collect().await.map(|body| body.to_bytes())
    }

    macro_rules! compressed {
        ($encoder:ident, $text:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($text).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }

    #[tokio::test]
    async fn what_is_compressed_reads_as_it_was() {
        let gzip = compressed!(GzipEncoder, TEXT);
        let br = compressed!(BrotliEncoder, TEXT);
        let twice = compressed!(GzipEncoder, &br);
        let members = [gzip.clone(), gzip.clone()].concat();
        for (codings, body, text) in [
            (vec!["gzip"], gzip.clone(), TEXT.to_vec()),
            (vec!["X-GZip"], gzip.clone(), TEXT.to_vec()),
            (vec!["identity, gzip"], gzip.clone(), TEXT.to_vec()),
            (vec!["gzip"], members, [TEXT, TEXT].concat()),
            (
                vec!["deflate"],
                compressed!(ZlibEncoder, TEXT),
                TEXT.to_vec(),
            ),
            (
                vec!["deflate"],
                compressed!(DeflateEncoder, TEXT),
                TEXT.to_vec(),
            ),
            (vec!["br"], br.clone(), TEXT.to_vec()),
            (vec!["br, gzip"], twice.clone(), TEXT.to_vec()),
            (vec!["br", "gzip"], twice, TEXT.to_vec()),
            (vec!["gzip"], Vec::new(), Vec::new()),
        ] {
            let read = read(answer(&codings, body)).await.unwrap();
            assert_eq!(read, text, "{codings:?}");
        }
    }

    #[tokio::test]
    async fn a_word_that_names_no_coding_means_none() {
        for word in [
            "identity",
            "none",
            "UTF-8",
            "\"utf-8\"",
            "binary",
            "8bit",
            "",
            "chunked",
            ",",
            "text/plain",
        ] {
            let answer = decoded(answer(&[word], TEXT), broke);
            assert!(!answer.headers().contains_key(CONTENT_ENCODING), "{word}");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, TEXT, "{word}");
        }
    }

    #[tokio::test]
    async fn a_coding_that_cannot_be_undone_stays() {
        for word in ["zstd", "compress", "gzip, zstd", "gzip, gzip, gzip"] {
            let answer = decoded(answer(&[word], TEXT), broke);
            assert_eq!(answer.headers().get(CONTENT_ENCODING).unwrap(), word);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, TEXT, "{word}");
        }
    }

    #[tokio::test]
    async fn content_that_is_cut_short_or_no_such_content_is_broken() {
        let gzip = compressed!(GzipEncoder, TEXT);
        let zlib = compressed!(ZlibEncoder, TEXT);
        let br = compressed!(BrotliEncoder, TEXT);
        let mut wrong_sum = gzip.clone();
        let at = wrong_sum.len() - 6;
        wrong_sum[at] ^= 1;
        for (coding, body) in [
            ("gzip", gzip[..gzip.len() - 1].to_vec()),
            ("gzip", gzip[..5].to_vec()),
            ("gzip", [&gzip[..], b"rubbish"].concat()),
            ("gzip", wrong_sum),
            ("gzip", TEXT.to_vec()),
            ("deflate", zlib[..zlib.len() - 1].to_vec()),
            ("br", br[..br.len() - 1].to_vec()),
        ] {
            let error = read(answer(&[coding], body)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Broken, "{coding}");
        }
    }

    #[tokio::test]
    async fn an_error_of_the_connection_stays_what_it_is() {
        let gone = Error::upstream(ErrorKind::Gone, "the backend went away");
        let pieces = [
            Ok(Frame::data(Bytes::from_static(&[0x1f]))),
            Err(gone.clone()),
        ];
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        let cut = answer(&["gzip"], Bytes::new()).map(|_| body);
        assert_eq!(read(cut).await.unwrap_err(), gone);
    }

    #[tokio::test]
    async fn a_bomb_unfolds_piece_by_piece() {
        let zeros = vec![0; 9 << 20];
        for (coding, bomb) in [
            ("gzip", compressed!(GzipEncoder, &zeros)),
            ("br", compressed!(BrotliEncoder, &zeros)),
        ] {
            assert!(bomb.len() < 1 << 20);
            let mut body = decoded(answer(&[coding], bomb), broke).into_body();
            let mut length = 0;
            while length < 8 << 20 {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE);
                length += piece.len();
            }
        }
    }

    /// Sends the frames of a body as they are written, like a backend that flushes.
    async fn flushed<W: AsyncWrite + Unpin>(coding: &'static str, make: impl FnOnce(Pipe) -> W) {
        let (sender, mut sent) = mpsc::channel(64);
        let mut encoder = make(Pipe(sender));
        let frames = stream::poll_fn(move |cx| sent.poll_recv(cx));
        let frames = frames.map(|bytes| Ok::<_, Error>(Frame::data(bytes)));
        let body = StreamBody::new(frames).boxed_unsync();
        let mut body = decoded(answer(&[coding], Bytes::new()).map(|_| body), broke).into_body();
        for event in [&b"data: one\n\n"[..], b"data: two\n\n", b"data: three\n\n"] {
            encoder.write_all(event).await.unwrap();
            encoder.flush().await.unwrap();
            let mut read = Vec::new();
            while read.len() < event.len() {
                let frame = timeout(Duration::from_secs(20), body.frame()).await;
                let frame = frame.expect("nothing came").unwrap().unwrap();
                read.extend_from_slice(&frame.into_data().unwrap());
            }
            assert_eq!(read, event, "{coding}");
        }
    }

    /// What is written arrives at the other end at once.
    struct Pipe(mpsc::Sender<Bytes>);

    impl AsyncWrite for Pipe {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            self.0.try_send(Bytes::copy_from_slice(bytes)).unwrap();
            std::task::Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_flushed_arrives_at_once() {
        flushed("gzip", GzipEncoder::new).await;
        flushed("deflate", ZlibEncoder::new).await;
        flushed("deflate", DeflateEncoder::new).await;
        flushed("br", BrotliEncoder::new).await;
    }
}
