//! Reading any bytes as a `.flo` file returns a flow or an error, and writing the flow returns the
//! same bytes.

#![no_main]

use gru_rcn_flow::flo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(flow) = flo::read(bytes) {
        let mut again = Vec::new();
        flo::write(&flow, &mut again).expect("what was read can be written");
        assert_eq!(again, bytes);
    }
});
