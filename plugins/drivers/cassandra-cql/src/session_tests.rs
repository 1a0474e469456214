//! A session with members that answer as they are told to.

use std::collections::VecDeque;

use faultd_plugin_sdk::driver::Failure;
use faultd_plugin_sdk::random::Random;
use scylla_cql::Consistency;

use super::{Session, Wire};
use crate::failures::Trouble;
use crate::options::Login;

const READY: (u8, &[u8]) = (2, b"");
const DONE: (u8, &[u8]) = (8, b"\0\0\0\x01");
const UNPREPARED: (u8, &[u8]) = (0, b"\0\0\x25\0\0\x01?\0\x02w1");
const OVERLOADED: (u8, &[u8]) = (0, b"\0\0\x10\x01\0\x01!");

/// Answers in the order in which they are read, whatever is asked.
#[derive(Default)]
struct Script {
    answers: VecDeque<u8>,
    written: Vec<Vec<u8>>,
}

impl Wire for &mut Script {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.written.push(bytes.to_vec());
        Ok(())
    }

    fn read_exact(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        if self.answers.len() < count {
            return Err(Failure::Timeout);
        }
        Ok(self.answers.drain(..count).collect())
    }
}

impl Script {
    fn new(answers: &[(u8, &[u8])]) -> Self {
        let mut script = Self::default();
        answers.iter().for_each(|(opcode, body)| script.add(0, *opcode, body));
        script
    }

    fn add(&mut self, stream: i16, opcode: u8, body: &[u8]) {
        let [high, low] = stream.to_be_bytes();
        let length = u8::try_from(body.len()).unwrap();
        self.answers.extend([0x84, 0, high, low, opcode, 0, 0, 0, length]);
        self.answers.extend(body);
    }

    /// The kinds of the requests.
    fn asked(&self) -> Vec<u8> {
        self.written.iter().map(|request| request[4]).collect()
    }
}

fn prepared(name: &str) -> Vec<u8> {
    [b"\0\0\0\x04\0\x02", name.as_bytes()].concat()
}

fn login() -> Login {
    Login { user: "cassandra".to_owned(), password: "secret".to_owned() }
}

#[test]
fn a_client_logs_in_where_it_is_asked_to() {
    let mut script = Script::new(&[(3, b"\0\x01a"), (16, b"\xff\xff\xff\xff")]);
    assert!(Session::begin(&mut script, Some(&login())).is_ok());
    assert_eq!(script.asked(), [1, 15]);
}

#[test]
fn a_login_that_is_missing_or_wrong_is_told() {
    let mut script = Script::new(&[(3, b"\0\x01a")]);
    let trouble = Session::begin(&mut script, None).err().unwrap();
    assert!(matches!(trouble.into_failure(), Failure::Server(text) if text.contains("user and password")));
    let mut script = Script::new(&[(3, b"\0\x01a"), (0, b"\0\0\x01\0\0\x03bad")]);
    let trouble = Session::begin(&mut script, Some(&login())).err().unwrap();
    assert!(matches!(trouble.into_failure(), Failure::Server(text) if text == "AuthenticationError: bad"));
}

#[test]
fn statements_are_prepared_once() {
    let (write, read) = (prepared("w1"), prepared("r1"));
    let mut script = Script::new(&[READY, (8, &write), (8, &read), DONE, DONE, (8, b"\0\0\0\x02rows")]);
    let mut session = Session::begin(&mut script, None).unwrap();
    session.write(Consistency::One, 1, b"v").unwrap();
    session.write(Consistency::One, 2, b"v").unwrap();
    session.read(Consistency::One, 2).unwrap();
    assert_eq!(script.asked(), [1, 9, 9, 10, 10, 10]);
    assert_eq!(&script.written[5][11..13], b"r1");
}

#[test]
fn a_statement_that_was_forgotten_is_prepared_again_once() {
    let (first, second, read) = (prepared("w1"), prepared("w2"), prepared("r1"));
    let begin = [READY, (8, &first), (8, &read), UNPREPARED, (8, &second), (8, &read)];
    let mut script = Script::new(&[&begin[..], &[DONE]].concat());
    let mut session = Session::begin(&mut script, None).unwrap();
    session.write(Consistency::One, 1, b"v").unwrap();
    assert_eq!(&script.written.last().unwrap()[11..13], b"w2");
    let mut script = Script::new(&[&begin[..], &[UNPREPARED]].concat());
    let mut session = Session::begin(&mut script, None).unwrap();
    assert!(matches!(session.write(Consistency::One, 1, b"v"), Err(Trouble::Unprepared)));
}

#[test]
fn many_writes_are_answered_in_any_order_and_the_first_error_is_told_after_the_last_answer() {
    let (write, read) = (prepared("w1"), prepared("r1"));
    let mut script = Script::new(&[READY, (8, &write), (8, &read)]);
    script.add(2, DONE.0, DONE.1);
    script.add(-1, 12, b"");
    script.add(0, OVERLOADED.0, OVERLOADED.1);
    script.add(1, DONE.0, DONE.1);
    script.add(0, DONE.0, DONE.1);
    let mut session = Session::begin(&mut script, None).unwrap();
    let trouble = session.write_many(Consistency::One, 5..8, b"v").unwrap_err();
    assert!(matches!(trouble, Trouble::Refused(text) if text == "Overloaded: !"));
    // The connection is at the end of an answer, and as good as before.
    session.write_many(Consistency::One, 5..6, b"v").unwrap();
    assert!(script.answers.is_empty());
}

#[test]
fn an_answer_to_another_request_or_none_at_all_breaks_the_connection() {
    let mut script = Script::default();
    script.add(3, READY.0, READY.1);
    assert!(matches!(Session::begin(&mut script, None), Err(Trouble::Broken(Failure::Server(_)))));
    assert!(matches!(Session::begin(&mut Script::default(), None), Err(Trouble::Broken(Failure::Timeout))));
}

#[test]
fn a_member_that_says_anything_is_survived() {
    let mut random = Random::from_seed(3);
    for _ in 0..20_000 {
        let mut script = Script::default();
        for _ in 0..6 {
            let length = usize::try_from(random.below(60)).unwrap();
            let body: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(8)).unwrap()).collect();
            let opcode = [0, 2, 3, 8, 8, 8, 16][usize::try_from(random.below(7)).unwrap()];
            script.add(0, opcode, &body);
        }
        if let Ok(mut session) = Session::begin(&mut script, Some(&login())) {
            drop(session.schema_version());
            drop(session.write(Consistency::One, 1, b"v"));
            drop(session.write_many(Consistency::One, 0..1, b"v"));
        }
    }
}
