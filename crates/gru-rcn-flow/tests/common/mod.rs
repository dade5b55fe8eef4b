//! Comparison of a flow with the known one.

use gru_rcn_flow::Flow;

/// Mean distance from `expected(x, y)`, without the pixels within `margin` of the border, where unknown
/// content moves in.
pub(crate) fn distance(flow: &Flow, margin: usize, expected: impl Fn(usize, usize) -> (f32, f32)) -> f32 {
    let (mut sum, mut count) = (0.0, 0.0);
    for y in margin..flow.height() - margin {
        for x in margin..flow.width() - margin {
            let (i, (u, v)) = (y * flow.width() + x, expected(x, y));
            sum += (flow.u[i] - u).hypot(flow.v[i] - v);
            count += 1.0;
        }
    }
    sum / count
}
