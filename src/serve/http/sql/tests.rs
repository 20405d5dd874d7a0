use super::*;

#[test]
fn accept_picks_the_form() {
    let cases = [
        ("*/*", Some(Form::Json)),
        ("", Some(Form::Json)),
        ("text/csv", Some(Form::Csv)),
        ("text/html, application/json;q=0.9, */*;q=0.8", Some(Form::Json)),
        ("application/json;q=0.1, text/csv;q=0.5", Some(Form::Csv)),
        ("application/vnd.apache.arrow.stream", Some(Form::Arrow)),
        ("image/png", None),
        ("text/csv;q=0", None),
    ];
    for (accept, form) in cases {
        assert_eq!(Form::accepted(accept), form, "{accept}");
    }
}

#[test]
fn a_framed_answer_is_whole_or_says_why() {
    let mut whole = Vec::new();
    Frame::Rows(b"abc".to_vec()).write(&mut whole);
    Frame::Rows(b"de".to_vec()).write(&mut whole);
    Frame::End.write(&mut whole);
    let mut read = String::new();
    FrameReader::new(whole.as_slice()).read_to_string(&mut read).unwrap();
    assert_eq!(read, "abcde");

    for cut in 0..whole.len() {
        let mut reader = FrameReader::new(&whole[..cut]);
        assert!(reader.finish().is_err(), "cut at {cut}");
    }

    let mut failed = Vec::new();
    Frame::Rows(b"abc".to_vec()).write(&mut failed);
    Frame::Failed("query stopped after 60 s".to_owned()).write(&mut failed);
    let error = FrameReader::new(failed.as_slice()).finish().unwrap_err();
    assert_eq!(error.to_string(), "query stopped after 60 s");
}
