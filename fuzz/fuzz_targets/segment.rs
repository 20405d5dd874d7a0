#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zktrail::source::txnlog::exercise::segment(bytes));
