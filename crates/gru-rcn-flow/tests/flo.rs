//! Reading, writing and rejecting `.flo` files.

use gru_rcn_flow::{Flow, FlowError, flo};
use proptest::prelude::*;

/// 202021.25 is 0x48454950, which little-endian spells "PIEH"; then 2, 1, and (1, −2), (0.5, 1e10).
const TWO_PIXELS: [u8; 28] = *b"PIEH\x02\0\0\0\x01\0\0\0\0\0\x80\x3f\0\0\0\xc0\0\0\0\x3f\xf9\x02\x15\x50";

fn with_size(width: i32, height: i32) -> Vec<u8> {
    [b"PIEH".as_slice(), &width.to_le_bytes(), &height.to_le_bytes()].concat()
}

fn reason(bytes: &[u8]) -> String {
    match flo::read(bytes) {
        Err(FlowError::BadFlo { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_and_writes_bytes_derived_by_hand() {
    let flow = flo::read(TWO_PIXELS.as_slice()).unwrap();
    assert_eq!(flow, Flow::new(2, 1, vec![1.0, 0.5], vec![-2.0, 1e10]).unwrap());
    let mut bytes = Vec::new();
    flo::write(&flow, &mut bytes).unwrap();
    assert_eq!(bytes, TWO_PIXELS);
}

#[test]
fn rejects_truncations_trailing_bytes_and_another_magic_number() {
    for length in 0..TWO_PIXELS.len() {
        assert!(reason(&TWO_PIXELS[..length]).contains("ends"), "{length}");
    }
    assert!(reason(&[TWO_PIXELS.as_slice(), &[0]].concat()).contains("left over"));
    assert!(reason(b"HEIP\x02\0\0\0\x01\0\0\0").contains("begins with"));
}

/// The largest allowed header, of 2^28 pixels, is followed by 3 bytes: memory is allocated only for these.
#[test]
fn rejects_absurd_sizes() {
    for (width, height) in [(0, 1), (1, 0), (-1, 1), (1, i32::MIN), (100_000, 1), (1, i32::MAX), (99_999, 99_999)] {
        assert!(reason(&with_size(width, height)).contains("size"), "{width}x{height}");
    }
    let cut = [with_size(1 << 14, 1 << 14).as_slice(), &[1, 2, 3]].concat();
    assert!(reason(&cut).contains("ends after 3"));
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.flo");
    assert!(flo::load(&path).unwrap_err().to_string().contains("pair.flo"));
    std::fs::write(&path, b"PIEH").unwrap();
    assert!(flo::load(&path).unwrap_err().to_string().contains("pair.flo"));
    flo::save(&Flow::zero(3, 2), &path).unwrap();
    assert_eq!(flo::load(&path).unwrap(), Flow::zero(3, 2));
}

#[test]
fn does_not_write_unreadable_flow() {
    assert!(flo::write(&Flow::zero(0, 3), Vec::new()).is_err());
    let mut flow = Flow::zero(2, 2);
    flow.u.pop();
    assert!(matches!(flo::write(&flow, Vec::new()), Err(FlowError::Length { found: 3, .. })));
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(body in proptest::collection::vec(any::<u8>(), 0..80), magic in any::<bool>()) {
        let bytes = if magic { [b"PIEH".as_slice(), &body].concat() } else { body };
        let _ = flo::read(bytes.as_slice());
    }

    #[test]
    fn accepts_only_the_length_that_fits_the_size(width in -2i32..6, height in -2i32..6, length in 0usize..300) {
        let bytes = [with_size(width, height), vec![7; length]].concat();
        let fits = width > 0 && height > 0 && length == (8 * width * height) as usize;
        prop_assert_eq!(flo::read(bytes.as_slice()).is_ok(), fits);
    }

    /// Bit patterns are arbitrary, NaN included. The fuzz target asserts the same.
    #[test]
    fn writes_the_bytes_that_it_read(width in 1i32..6, height in 1i32..6, cut in 0usize..3, data in proptest::collection::vec(any::<u8>(), 200)) {
        let length = (8 * width * height) as usize - cut;
        let bytes = [with_size(width, height).as_slice(), &data[..length]].concat();
        match flo::read(bytes.as_slice()) {
            Ok(flow) => {
                let mut again = Vec::new();
                flo::write(&flow, &mut again).unwrap();
                prop_assert_eq!((cut, again), (0, bytes));
            }
            Err(error) => prop_assert!(cut > 0, "{}", error),
        }
    }
}
