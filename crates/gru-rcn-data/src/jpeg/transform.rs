//! The inverse cosine transform of a block of 8×8 coefficients (T.81, annex A.3.3).
//!
//! By the factorisation of Loeffler, Ligtenberg and Moschytz (1989) in whole numbers with twelve bits behind the point, which
//! is also what the general decoder does: the pixels are the same.

use super::huffman::Block;
use super::lanes::{Lanes, Pixels};

/// A factor with twelve bits behind the point. Negative ones are rounded towards zero, as the general decoder's are.
const fn fixed(factor: f64) -> i32 {
    (factor * 4096.0 + 0.5) as i32
}

/// Eight transforms of length eight at once, of `[frequency][lane]`, without the last factor; `bias` is added before the
/// result is divided by `2^SHIFT`.
///
/// With `HALF` the upper four frequencies are taken for zero.
#[inline(always)]
fn pass<L: Lanes, const SHIFT: i32, const HALF: bool>(rows: [L; 8], bias: i32) -> [L; 8] {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let zero = L::splat(0);
    let [r4, r5, r6, r7] = if HALF { [zero; 4] } else { [r4, r5, r6, r7] };

    let turned = r2.add(r6).mul(const { fixed(0.541_196_100) });
    let low = turned.add(r6.mul(const { fixed(-1.847_759_065) }));
    let high = turned.add(r2.mul(const { fixed(0.765_366_865) }));
    let bias = L::splat(bias);
    let sum = r0.add(r4).shl::<12>().add(bias);
    let difference = r0.sub(r4).shl::<12>().add(bias);
    let (e0, e1, e2, e3) = (sum.add(high), difference.add(low), difference.sub(low), sum.sub(high));

    let (p1, p2, p3, p4) = (r7.add(r1), r5.add(r3), r7.add(r3), r5.add(r1));
    let p5 = p3.add(p4).mul(const { fixed(1.175_875_602) });
    let p1 = p5.add(p1.mul(const { fixed(-0.899_976_223) }));
    let p2 = p5.add(p2.mul(const { fixed(-2.562_915_447) }));
    let p3 = p3.mul(const { fixed(-1.961_570_560) });
    let p4 = p4.mul(const { fixed(-0.390_180_644) });
    let o0 = r1.mul(const { fixed(1.501_321_110) }).add(p1.add(p4));
    let o1 = r3.mul(const { fixed(3.072_711_026) }).add(p2.add(p3));
    let o2 = r5.mul(const { fixed(2.053_119_869) }).add(p2.add(p4));
    let o3 = r7.mul(const { fixed(0.298_631_336) }).add(p1.add(p3));

    [
        e0.add(o0).shr::<SHIFT>(),
        e1.add(o1).shr::<SHIFT>(),
        e2.add(o2).shr::<SHIFT>(),
        e3.add(o3).shr::<SHIFT>(),
        e3.sub(o3).shr::<SHIFT>(),
        e2.sub(o2).shr::<SHIFT>(),
        e1.sub(o1).shr::<SHIFT>(),
        e0.sub(o0).shr::<SHIFT>(),
    ]
}

/// Two bits stay behind the point between the passes; then there are 12 + 2 + 3, of which three are the transform's own
/// factor of 8. Rounding, and 128 for the middle of the range.
const BIAS: [i32; 2] = [512, 512 + 65_536 + (128 << 17)];

#[inline(always)]
fn transform<L: Lanes, const HALF: bool>(block: &Block, factors: &[i32; 64]) -> Pixels {
    let columns = L::transposed(pass::<L, 10, HALF>(L::load(block, factors), BIAS[0]));
    L::pixels(pass::<L, 17, HALF>(columns, BIAS[1]))
}

/// The pixels of a block of coefficients before their factors, of which only the first `coded` in the order of the file are
/// not zero.
#[inline(always)]
pub(super) fn pixels<L: Lanes>(block: &Block, factors: &[i32; 64], coded: u8) -> Pixels {
    match coded {
        0 | 1 => {
            let mean = i32::from(block[0]) * factors[0];
            [[((mean + 4 + 1024) >> 3).clamp(0, 255) as u8; 8]; 8]
        }
        // The first four diagonals lie in the upper left quarter.
        2..=10 => transform::<L, true>(block, factors),
        _ => transform::<L, false>(block, factors),
    }
}
