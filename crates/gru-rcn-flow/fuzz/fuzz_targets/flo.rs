//! Whatever the bytes, reading a `.flo` file ends in a flow or in an error; a flow that was read is written as it was.

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
