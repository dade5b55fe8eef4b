//! From Y, Cb and Cr to red, green and blue (JFIF 1.02), and chroma of half the size to the whole.

/// Bits behind the point of the factors.
const BITS: i32 = 14;

const fn fixed(factor: f64) -> i32 {
    (factor * (1 << BITS) as f64 + 0.5) as i32
}

/// Converts a row. The rounding is the general decoder's: halves go down.
pub(super) fn to_rgb(y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for, as was just asked.
        return unsafe { to_rgb_avx2(y, cb, cr, rgb) };
    }
    to_rgb_of(y, cb, cr, rgb);
}

/// The same, compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn to_rgb_avx2(y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
    to_rgb_of(y, cb, cr, rgb);
}

#[inline(always)]
fn to_rgb_of(y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
    let (rgb, _) = rgb.as_chunks_mut::<3>();
    for (((rgb, &y), &cb), &cr) in rgb.iter_mut().zip(y).zip(cb).zip(cr) {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        let y = (i32::from(y) << BITS) + (1 << (BITS - 1)) - 1;
        let red = y + fixed(1.402) * cr;
        let green = y - fixed(0.714_136) * cr - fixed(0.344_136) * cb;
        let blue = y + fixed(1.772) * cb;
        rgb[0] = (red >> BITS).clamp(0, 255) as u8;
        rgb[1] = (green >> BITS).clamp(0, 255) as u8;
        rgb[2] = (blue >> BITS).clamp(0, 255) as u8;
    }
}

/// A row of halved chroma between the rows of the file: three parts of the nearest one and one of the next.
pub(super) fn between(near: &[u8], far: &[u8], row: &mut Vec<u8>) {
    row.resize(near.len(), 0);
    for ((value, &near), &far) in row.iter_mut().zip(near).zip(far) {
        *value = mixed(near, far);
    }
}

/// A row of twice as many columns, by the same rule; the first and the last stay as they are.
pub(super) fn widened(row: &[u8], wide: &mut Vec<u8>) {
    wide.resize(2 * row.len(), 0);
    let ([first, inner @ .., last], Some((_, rest))) = (&mut wide[..], row.split_first()) else { return };
    (*first, *last) = (row[0], row[row.len() - 1]);
    for ((pair, &left), &right) in inner.as_chunks_mut::<2>().0.iter_mut().zip(row).zip(rest) {
        *pair = [mixed(left, right), mixed(right, left)];
    }
}

#[inline(always)]
fn mixed(near: u8, far: u8) -> u8 {
    ((3 * u16::from(near) + u16::from(far) + 2) >> 2) as u8
}
