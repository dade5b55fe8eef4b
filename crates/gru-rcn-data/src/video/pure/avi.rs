//! The chunks of an AVI file (RIFF) that belong to its first video.
//!
//! Chunks are read in the order they lie in, from `LIST movi` to the end of the file; indices are
//! not used. Frames of a file that ends early, or whose sizes lead into nowhere, are not the film:
//! that is an error, never a shorter clip. Every size is checked before memory is taken.

use std::io::{self, Read, Seek, SeekFrom};

/// Most bytes of the header list; it is a few hundred bytes long.
const MOST_HEADERS: u64 = 1 << 20;
/// Bytes of a BITMAPINFOHEADER; what follows it is the decoder's.
const BITMAP_INFO: usize = 40;

#[derive(Debug)]
pub(super) enum AviError {
    /// Not an AVI file with a video.
    Foreign(String),
    /// An AVI file that breaks off or is damaged.
    Broken(String),
    Io(io::Error),
}

impl From<io::Error> for AviError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The headers' statements about the video.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct VideoHeader {
    /// Place among the file's streams.
    stream: u8,
    pub(super) codec: [u8; 4],
    /// The decoder's own headers, often empty.
    pub(super) extradata: Vec<u8>,
    pub(super) rate: Option<f64>,
}

/// An open file, before its next chunk.
pub(super) struct Avi<R> {
    input: R,
    length: u64,
    at: u64,
    riff_end: u64,
    most_chunk: u64,
    pub(super) video: VideoHeader,
}

impl<R: Read + Seek> Avi<R> {
    /// Reads the headers. No chunk of frames may be longer than `most_chunk` bytes.
    pub(super) fn open(mut input: R, most_chunk: u64) -> Result<Self, AviError> {
        let length = input.seek(SeekFrom::End(0))?;
        let mut avi = Self { input, length, at: 0, riff_end: 0, most_chunk, video: VideoHeader::default() };
        let start = avi.peek::<12>()?.filter(|head| &head[..4] == b"RIFF" && &head[8..] == b"AVI ");
        if start.is_none() {
            return Err(AviError::Foreign("it is not an AVI file".to_owned()));
        }
        loop {
            let Some((name, size)) = avi.header()? else {
                return Err(AviError::Broken("the file ends before its first frame".to_owned()));
            };
            match &name {
                b"RIFF" => avi.enter_riff(size),
                b"LIST" if avi.form()? == *b"hdrl" => {
                    let body = avi.body(size, MOST_HEADERS)?;
                    avi.video = video_header(body.get(4..).unwrap_or_default())?;
                    avi.skip(size)?;
                }
                b"LIST" if avi.form()? == *b"movi" => break,
                _ => avi.skip(size)?,
            }
        }
        if avi.video.codec == [0; 4] {
            return Err(AviError::Foreign("it holds no video".to_owned()));
        }
        Ok(avi)
    }

    /// The next chunk of the video; `None` at the end of the film. Empty chunks (a frame shown for
    /// longer) are skipped.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, AviError> {
        while let Some((name, size)) = self.header()? {
            match &name {
                b"RIFF" => self.enter_riff(size),
                // Behind the last declared byte there may be anything.
                _ if self.at >= self.riff_end => return Ok(None),
                b"LIST" if matches!(&self.form()?, b"movi" | b"rec ") => self.at += 12,
                _ if self.is_frame(&name) && size > 0 => {
                    let body = self.body(size, self.most_chunk)?;
                    self.skip(size)?;
                    return Ok(Some(body));
                }
                _ => self.skip(size)?,
            }
        }
        if self.riff_end > self.length {
            return Err(self.cut_short());
        }
        Ok(None)
    }

    /// `00dc` or `00db`, where the two digits are the stream.
    fn is_frame(&self, name: &[u8; 4]) -> bool {
        let digits = [b'0' + self.video.stream / 10, b'0' + self.video.stream % 10];
        name[..2] == digits && matches!(&name[2..], b"dc" | b"db")
    }

    /// Name and size of the chunk here; `None` where no chunk has room.
    fn header(&mut self) -> Result<Option<([u8; 4], u64)>, AviError> {
        let Some(head) = self.peek::<8>()? else { return Ok(None) };
        let name = [head[0], head[1], head[2], head[3]];
        let inside = self.at < self.riff_end || self.at == 0;
        if inside && !name.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(AviError::Broken(format!("there is no chunk at byte {} where one should be", self.at)));
        }
        Ok(Some((name, u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])))))
    }

    /// The four letters behind the header of a `LIST`.
    fn form(&mut self) -> Result<[u8; 4], AviError> {
        match self.peek::<12>()? {
            Some(head) => Ok([head[8], head[9], head[10], head[11]]),
            None => Err(self.cut_short()),
        }
    }

    fn enter_riff(&mut self, size: u64) {
        self.riff_end = self.at + 8 + size;
        self.at += 12;
    }

    /// Moves behind the chunk here. Bodies are padded to even sizes.
    fn skip(&mut self, size: u64) -> Result<(), AviError> {
        self.at += 8 + size + size % 2;
        // The last pad byte may be missing.
        if self.at > self.length + 1 { Err(self.cut_short()) } else { Ok(()) }
    }

    fn body(&mut self, size: u64, most: u64) -> Result<Vec<u8>, AviError> {
        if self.at + 8 + size > self.length {
            return Err(self.cut_short());
        }
        if size > most {
            return Err(AviError::Broken(format!("the chunk at byte {} is {size} bytes long", self.at)));
        }
        self.input.seek(SeekFrom::Start(self.at + 8))?;
        let mut body = vec![0; size as usize];
        self.input.read_exact(&mut body)?;
        Ok(body)
    }

    fn peek<const N: usize>(&mut self) -> Result<Option<[u8; N]>, AviError> {
        if self.at.saturating_add(N as u64) > self.length {
            return Ok(None);
        }
        self.input.seek(SeekFrom::Start(self.at))?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn cut_short(&self) -> AviError {
        AviError::Broken(format!("the file is cut short: it ends at byte {}, within the film", self.length))
    }
}

/// The first video among the `LIST strl` of a header list; no codec where there is none.
fn video_header(list: &[u8]) -> Result<VideoHeader, AviError> {
    let mut stream = 0u8;
    for (name, body) in chunks(list) {
        if name != b"LIST" || !body.starts_with(b"strl") {
            continue;
        }
        let part = |wanted: &[u8]| chunks(&body[4..]).find(|(name, _)| *name == wanted).map(|(_, body)| body);
        if let Some(header) = part(b"strh").filter(|header| header.starts_with(b"vids")) {
            let format = part(b"strf").filter(|format| format.len() >= BITMAP_INFO && stream < 100);
            let Some(format) = format else {
                return Err(AviError::Broken("its video has no readable header".to_owned()));
            };
            let codec = [format[16], format[17], format[18], format[19]];
            return Ok(VideoHeader { stream, codec, extradata: format[BITMAP_INFO..].to_vec(), rate: rate(header) });
        }
        stream = stream.saturating_add(1);
    }
    Ok(VideoHeader::default())
}

/// Frames per second: `dwRate` by `dwScale` of a stream's header.
fn rate(header: &[u8]) -> Option<f64> {
    let number = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let (scale, rate) = (number(20)?, number(24)?);
    (scale > 0 && rate > 0).then(|| f64::from(rate) / f64::from(scale))
}

/// Names and bodies of the chunks in `bytes`, as far as they are whole.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(8)?;
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (body, after) = rest.split_at_checked(size)?;
        bytes = after.get(size % 2..).unwrap_or_default();
        Some((&head[..4], body))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn chunk(name: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = [name, &(body.len() as u32).to_le_bytes(), body].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    }

    /// An AVI whose second stream is a video.
    fn film(movi: &[u8]) -> Vec<u8> {
        let mut format = vec![0; 42];
        format[16..20].copy_from_slice(b"XVID");
        let sound = chunk(b"LIST", &[b"strl", &chunk(b"strh", b"auds....")[..]].concat());
        let strh =
            chunk(b"strh", &[b"vidsxvid", &[0; 12][..], &1001u32.to_le_bytes(), &30_000u32.to_le_bytes()].concat());
        let video = chunk(b"LIST", &[b"strl", &strh[..], &chunk(b"strf", &format)].concat());
        let headers = chunk(b"LIST", &[b"hdrl", &chunk(b"avih", &[0; 56])[..], &sound, &video].concat());
        let movi = chunk(b"LIST", &[b"movi", movi].concat());
        chunk(b"RIFF", &[b"AVI ", &headers[..], &chunk(b"JUNK", b"abc"), &movi, &chunk(b"idx1", b"12345678")].concat())
    }

    fn read(bytes: &[u8], most: u64) -> Result<Vec<Vec<u8>>, AviError> {
        let mut avi = Avi::open(Cursor::new(bytes), most)?;
        assert_eq!((avi.video.codec, avi.video.extradata.len()), (*b"XVID", 2));
        assert_eq!(avi.video.rate, Some(30_000.0 / 1001.0));
        std::iter::from_fn(|| avi.next_chunk().transpose()).collect()
    }

    fn movi() -> Vec<u8> {
        let inner = chunk(b"LIST", &[b"rec ", &chunk(b"01dc", b"third")[..]].concat());
        [chunk(b"01dc", b"one"), chunk(b"00wb", b"sound"), chunk(b"01dc", b""), chunk(b"01db", b"second"), inner]
            .concat()
    }

    #[test]
    fn chunks_of_the_video_come_in_order() {
        let words = [&b"one"[..], b"second", b"third"];
        assert_eq!(read(&film(&movi()), 9).unwrap(), words);
        // A second part of a long film, and something behind it.
        let more = chunk(b"RIFF", &[b"AVIX", &chunk(b"LIST", &[b"movi", &movi()[..]].concat())[..]].concat());
        let long = [film(&movi()), more, b"\0\0\0 behind the end".to_vec()].concat();
        assert_eq!(read(&long, 9).unwrap(), [words, words].concat());
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = film(&movi());
        for end in 0..whole.len() {
            assert!(read(&whole[..end], 9).is_err(), "{end}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let text = |result: Result<_, AviError>| format!("{:?}", result.unwrap_err());
        assert!(text(read(&film(&movi()), 5)).contains("6 bytes long"));
        assert!(text(read(b"ftypmp42........", 9)).contains("not an AVI"));
        let mut torn = film(&movi());
        let place = torn.windows(4).position(|four| four == b"01db").unwrap();
        torn[place..place + 4].fill(0xA5);
        assert!(text(read(&torn, 9)).contains("no chunk at byte"));
        // A size that leads behind the end of the file.
        let mut long = film(&movi());
        long[place + 7] = 0x7f;
        assert!(text(read(&long, u64::MAX)).contains("cut short"));
        let silent = chunk(b"RIFF", &[b"AVI ", &chunk(b"LIST", b"movi")[..]].concat());
        assert!(text(read(&silent, 9)).contains("no video"));
    }
}
