//! Asks a Prometheus, over HTTP/1.1, bounded in time and size. It asks for what is now, and nothing else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultd_api::prometheus_address::PrometheusAddress;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::judging::Answer;

/// How long an answer may take, with the connection.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The longest answer, in bytes: some thousands of series.
const LONGEST_ANSWER: usize = 1 << 20;
/// So much of what it says is passed on, in characters.
const LONGEST_REASON: usize = 200;

/// Why there is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PrometheusError {
    /// Nobody answers, or not as Prometheus does.
    #[error(
        "Prometheus at {address} does not answer ({reason}): start it, or name another one with --prometheus"
    )]
    Silent {
        /// Where it was looked for.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// It does not take the question.
    #[error("promql({expression}) cannot be judged: {reason}")]
    Refused {
        /// The question.
        expression: String,
        /// What it says.
        reason: String,
    },
}

/// Why an answer is of no use.
#[derive(Debug, PartialEq, Eq)]
enum NoValues {
    /// Another time it may be.
    Now(String),
    /// It never will.
    Ever(String),
}

#[derive(Deserialize)]
struct Document {
    status: String,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

/// Asks a question once.
///
/// # Errors
/// When there is no answer in time, or none that is made of numbers.
pub async fn ask(address: &PrometheusAddress, expression: &str) -> Result<Vec<f64>, PrometheusError> {
    let answer = timeout(ANSWERS_WITHIN, fetch(address, expression)).await;
    let late = || Err(NoValues::Now(format!("nothing within {} s", ANSWERS_WITHIN.as_secs())));
    answer.unwrap_or_else(|_| late()).map_err(|none| match none {
        NoValues::Now(reason) => PrometheusError::Silent { address: address.to_string(), reason },
        NoValues::Ever(reason) => PrometheusError::Refused { expression: expression.to_owned(), reason },
    })
}

/// A connection for each question: what has gone and come back is found again.
async fn fetch(address: &PrometheusAddress, expression: &str) -> Result<Vec<f64>, NoValues> {
    let stream = TcpStream::connect((address.host(), address.port())).await.map_err(now)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(now)?;
    // Ends with this function.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let path = format!("{}/api/v1/query?query={}", address.path(), percent_encoded(expression));
    let request = Request::get(path).header(HOST, address.authority()).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(now)?;
    let response = sender.send_request(request).await.map_err(now)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await.map_err(now)?.to_bytes();
    values_of(&body).unwrap_or_else(|| Err(now(format!("what answers with {status} is no Prometheus"))))
}

fn now(reason: impl std::fmt::Display) -> NoValues {
    NoValues::Now(shown(&reason.to_string()))
}

/// The values in an answer; nothing where it is none of Prometheus'.
fn values_of(body: &[u8]) -> Option<Result<Vec<f64>, NoValues>> {
    let Document { status, error_type, error, data } = serde_json::from_slice(body).ok()?;
    if status == "error" {
        let error = shown(&error);
        let is_for_ever = matches!(error_type.as_str(), "bad_data" | "execution");
        return Some(Err(if is_for_ever { NoValues::Ever(error) } else { NoValues::Now(error) }));
    }
    let Data { kind, result } = data.filter(|_| status == "success")?;
    match kind.as_str() {
        // Histograms have no value, and none that could be compared.
        "vector" => {
            Some(Ok(result.as_array()?.iter().filter_map(|one| value_of(one.get("value")?)).collect()))
        }
        "scalar" => Some(Ok(vec![value_of(&result)?])),
        other => {
            let reason = format!("its answer is a {}, and no numbers of one moment", shown(other));
            Some(Err(NoValues::Ever(reason)))
        }
    }
}

/// Of a pair of time and value.
fn value_of(pair: &Value) -> Option<f64> {
    pair.get(1)?.as_str()?.parse().ok()
}

/// One line that is not too long.
fn shown(text: &str) -> String {
    text.replace(char::is_control, " ").chars().take(LONGEST_REASON).collect()
}

fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encoded).collect()
}

/// What was answered last, by expression. A std mutex: held for one access.
type Latest = Arc<Mutex<BTreeMap<String, Answer>>>;

/// Questions that are asked once a second, each by itself, until this is dropped.
pub struct Questions {
    latest: Latest,
    _asking: JoinSet<()>,
}

impl Questions {
    /// Begins to ask.
    #[must_use]
    pub fn begin(address: &PrometheusAddress, expressions: &[&str]) -> Self {
        let latest = Latest::default();
        let mut asking = JoinSet::new();
        for expression in expressions {
            asking.spawn(ask_again_and_again(address.clone(), (*expression).to_owned(), Arc::clone(&latest)));
        }
        Self { latest, _asking: asking }
    }

    /// What was answered since this was called last.
    #[must_use]
    pub fn take(&self) -> BTreeMap<String, Answer> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = latest.clone();
        for answer in latest.values_mut().filter(|answer| matches!(answer, Answer::Values(_))) {
            *answer = Answer::Silence("no answer yet".to_owned());
        }
        taken
    }
}

async fn ask_again_and_again(address: PrometheusAddress, expression: String, latest: Latest) {
    let mut seconds = interval(ASK_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let answer = match ask(&address, &expression).await {
            Ok(values) => Answer::Values(values),
            Err(PrometheusError::Silent { reason, .. } | PrometheusError::Refused { reason, .. }) => {
                Answer::Silence(reason)
            }
        };
        latest.lock().unwrap_or_else(PoisonError::into_inner).insert(expression.clone(), answer);
    }
}

/// What an answer says, for the fuzz target: whether there are values in it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn has_values(body: &[u8]) -> bool {
    match values_of(body) {
        Some(Ok(values)) => !values.is_empty(),
        Some(Err(NoValues::Now(reason) | NoValues::Ever(reason))) => {
            assert!(!reason.contains(char::is_control) && reason.chars().count() <= LONGEST_REASON * 2);
            false
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn values(body: &str) -> Option<Result<Vec<f64>, NoValues>> {
        values_of(body.as_bytes())
    }

    #[test]
    fn values_are_those_of_vectors_and_scalars() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"a":"b"},"value":[1.5,"0.25"]},{"metric":{},"value":[1.5,"+Inf"]},
            {"metric":{},"histogram":[1.5,{"count":"5"}]}]}}"#;
        assert_eq!(values(vector), Some(Ok(vec![0.25, f64::INFINITY])));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"-3"]}}"#;
        assert_eq!(values(scalar), Some(Ok(vec![-3.0])));
        let none = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(values(none), Some(Ok(Vec::new())));
    }

    #[test]
    fn what_is_no_number_of_now_is_told_from_what_may_be_one_later() {
        let error = |kind: &str| {
            values(&format!(r#"{{"status":"error","errorType":"{kind}","error":"parse\nerror"}}"#)).unwrap()
        };
        assert_eq!(error("bad_data"), Err(NoValues::Ever("parse error".into())));
        assert_eq!(error("timeout"), Err(NoValues::Now("parse error".into())));
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(matches!(values(matrix), Some(Err(NoValues::Ever(reason))) if reason.contains("a matrix")));
        for foreign in ["", "not found", "{}", r#"{"status":"success"}"#, "[]"] {
            assert_eq!(values(foreign), None, "{foreign}");
        }
    }

    /// Answers everybody the same; the request line of the first is the result of the task.
    async fn server(answer: String) -> (PrometheusAddress, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/p", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            // Whoever has read enough closes.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, serving)
    }

    fn http(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_question_is_one_request_for_a_query() {
        let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}"#;
        let (address, serving) = server(http(body)).await;
        assert_eq!(ask(&address, "a{b=\"c\"} + 1").await, Ok(vec![7.0]));
        let request = serving.await.unwrap();
        let first = "GET /p/api/v1/query?query=a%7Bb%3D%22c%22%7D%20%2B%201 HTTP/1.1\r\n";
        assert!(request.starts_with(first), "{request}");
        let refused = ask(&address, "x").await.unwrap_err().to_string();
        assert!(refused.contains("does not answer (") && refused.contains("--prometheus"), "{refused}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_given_up() {
        let (address, _serving) = server(http(&"x".repeat(LONGEST_ANSWER + 1))).await;
        assert!(matches!(ask(&address, "x").await, Err(PrometheusError::Silent { .. })));
        let (address, _serving) = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()).await;
        let foreign = ask(&address, "x").await.unwrap_err().to_string();
        assert!(foreign.contains("what answers with 404 Not Found is no Prometheus"), "{foreign}");
    }
}
