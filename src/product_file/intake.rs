//! From bytes to an import that has been taken in.

use std::io::Write;

use bytes::Bytes;
use emporium_actors::import::{Import, ImportError, RowFault, Staging};
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};

use super::Format;
use super::reader::{Reader, Yield};

/// How every gzip file begins.
const GZIP_MARK: [u8; 2] = [0x1f, 0x8b];
/// Bytes of gzip that are unpacked at once; they become at most a thousand times as many.
const PACKED_PIECE: usize = 256;
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;
/// Rows, and bytes of text, that go into the database at once, while as many more are read. By 2000 at once, to take a
/// million in took a sixth more of the cores.
const ROWS_AT_ONCE: usize = 8000;
const BYTES_AT_ONCE: usize = 2 << 20;

/// Why a file was not taken in. Nothing has been done with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError<E> {
    /// It did not come to its end.
    #[error("{0}")]
    Source(E),
    /// It is longer than is taken.
    #[error("it is longer than {0} bytes")]
    TooLarge(u64),
    /// It is no file of products.
    #[error("{0}")]
    Unusable(String),
    /// The shop could not take it.
    #[error("{0}")]
    Import(#[from] ImportError),
}

/// How a file comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intake {
    pub(crate) format: Format,
    /// Whether it is in gzip; where that is not known, its first bytes tell.
    pub(crate) is_packed: Option<bool>,
    /// The most bytes of it, unpacked.
    pub(crate) bytes_max: u64,
}

/// A file that has been taken in.
pub(crate) struct Taken {
    /// Ready to be merged.
    pub(crate) import: Import,
    /// What is wrong with rows that were not taken: the first of it.
    pub(crate) faults: Vec<RowFault>,
    /// How many were not.
    pub(crate) refused: i64,
}

/// Takes in what `source` gives; tells `progress` after each piece how many bytes have come.
pub(crate) async fn take_in<E>(
    source: impl Stream<Item = Result<Bytes, E>>,
    intake: Intake,
    mut staging: Staging,
    progress: impl Fn(u64),
) -> Result<Taken, IntakeError<E>> {
    match read_all(source, intake, &mut staging, progress).await {
        Ok((hash, faults, refused)) => Ok(Taken { import: staging.seal(hash).await?, faults, refused }),
        Err(error) => {
            staging.give_up().await;
            Err(error)
        }
    }
}

/// Reads what `source` gives; the hash of it, what is wrong with rows, and how many of them.
async fn read_all<E>(
    source: impl Stream<Item = Result<Bytes, E>>,
    intake: Intake,
    staging: &mut Staging,
    progress: impl Fn(u64),
) -> Result<([u8; 32], Vec<RowFault>, i64), IntakeError<E>> {
    let mut source = std::pin::pin!(source);
    let (mut unpack, mut desk) = (Unpack::new(intake.is_packed), Desk::new(intake));
    let mut bytes = 0;
    while let Some(chunk) = source.next().await {
        let chunk = chunk.map_err(IntakeError::Source)?;
        for piece in chunk.chunks(unpack.piece_bytes()) {
            let text = unpack.push(piece).map_err(|error| no_gzip(&error))?;
            desk.take(&text, staging).await?;
        }
        bytes += chunk.len() as u64;
        progress(bytes);
    }
    let text = unpack.finish().map_err(|error| no_gzip(&error))?;
    desk.take(&text, staging).await?;
    let (hash, Yield { rows, faults, refused }) = desk.finish()?;
    staging.put(rows).await?;
    Ok((hash, faults, refused))
}

fn no_gzip<E>(error: &std::io::Error) -> IntakeError<E> {
    IntakeError::Unusable(format!("it is no gzip: {error}"))
}

/// Unpacks what is packed.
enum Unpack {
    /// It is not known yet whether it is: its beginning.
    Undecided(Vec<u8>),
    Plain,
    Packed(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Unpack {
    fn new(is_packed: Option<bool>) -> Self {
        match is_packed {
            None => Self::Undecided(Vec::new()),
            Some(false) => Self::Plain,
            Some(true) => Self::Packed(Box::new(MultiGzDecoder::new(Vec::new()))),
        }
    }

    fn piece_bytes(&self) -> usize {
        if matches!(self, Self::Plain) { PIECE } else { PACKED_PIECE }
    }

    fn push(&mut self, piece: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(piece.to_vec()),
            Self::Packed(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Undecided(beginning) => {
                beginning.extend_from_slice(piece);
                if beginning.len() < GZIP_MARK.len() {
                    return Ok(Vec::new());
                }
                let beginning = std::mem::take(beginning);
                *self = Self::new(Some(beginning.starts_with(&GZIP_MARK)));
                self.push(&beginning)
            }
        }
    }

    fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(Vec::new()),
            Self::Undecided(beginning) => Ok(std::mem::take(beginning)),
            Self::Packed(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

/// Reads what is unpacked, and hands its rows on some thousand at a time.
struct Desk {
    reader: Reader,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
    found: Yield,
    /// Bytes read since rows were last handed on.
    waiting: usize,
}

impl Desk {
    fn new(Intake { format, bytes_max, .. }: Intake) -> Self {
        let (reader, found) = (Reader::new(format), Yield::default());
        Self { reader, hash: Sha256::new(), bytes: 0, bytes_max, found, waiting: 0 }
    }

    async fn take<E>(&mut self, text: &[u8], staging: &mut Staging) -> Result<(), IntakeError<E>> {
        for piece in text.chunks(PIECE) {
            self.bytes += piece.len() as u64;
            if self.bytes > self.bytes_max {
                return Err(IntakeError::TooLarge(self.bytes_max));
            }
            self.hash.update(piece);
            self.reader.push(piece, &mut self.found).map_err(IntakeError::Unusable)?;
            self.waiting += piece.len();
            if self.found.rows.len() >= ROWS_AT_ONCE || self.waiting >= BYTES_AT_ONCE {
                staging.put(std::mem::take(&mut self.found.rows)).await?;
                self.waiting = 0;
            }
        }
        Ok(())
    }

    fn finish<E>(mut self) -> Result<([u8; 32], Yield), IntakeError<E>> {
        self.reader.finish(&mut self.found).map_err(IntakeError::Unusable)?;
        Ok((self.hash.finalize().into(), self.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8], is_packed: Option<bool>, piece: usize) -> std::io::Result<Vec<u8>> {
        let (mut unpack, mut text) = (Unpack::new(is_packed), Vec::new());
        for piece in bytes.chunks(piece) {
            text.extend(unpack.push(piece)?);
        }
        text.extend(unpack.finish()?);
        Ok(text)
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_not_stays() {
        let text = b"sku,name
"
        .repeat(50_000);
        let (once, twice) = (
            packed(&text),
            [
                packed(b"sku,"),
                packed(
                    b"name
",
                ),
            ]
            .concat(),
        );
        for piece in [1, 100, 1 << 20] {
            for is_packed in [None, Some(true)] {
                assert_eq!(unpacked(&once, is_packed, piece).unwrap(), text, "{piece}");
                assert_eq!(
                    unpacked(&twice, is_packed, piece).unwrap(),
                    b"sku,name
"
                );
            }
            assert_eq!(unpacked(&text, None, piece).unwrap(), text);
            assert_eq!(unpacked(b"a", None, piece).unwrap(), b"a");
            assert_eq!(unpacked(b"", None, piece).unwrap(), b"");
        }
        assert!(unpacked(&once[..once.len() - 3], None, 100).is_err());
        assert!(
            unpacked(
                b"sku,name
",
                Some(true),
                100
            )
            .is_err()
        );
    }

    #[test]
    fn little_gzip_never_becomes_much_at_once() {
        let bomb = packed(&vec![b'a'; 64 << 20]);
        let mut unpack = Unpack::new(None);
        for piece in bomb.chunks(unpack.piece_bytes()) {
            assert!(unpack.push(piece).unwrap().len() <= PACKED_PIECE * 1100);
        }
    }
}
