//! `ask`: a client that is told what to ask, a line of JSON on standard input each, and tells what came
//! of it, a line each. For conformance cases, whose clients are in pods.
//!
//! Not a judge: who asks knows what is right.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::{anyone, grpc, websocket};

/// How long one answer may take, whatever is asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that may take more requests.
enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One question, as it stands in its line.
struct Question<'a> {
    said: &'a Value,
    to: SocketAddr,
}

/// See the module.
pub(crate) fn ask() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("listening");
    for line in std::io::stdin().lock().lines() {
        let said: Value = serde_json::from_str(&line?)?;
        let answers = runtime.block_on(all(&said))?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", Value::Array(answers))?;
        out.flush()?;
    }
    Ok(())
}

/// As many answers as were asked for.
async fn all(said: &Value) -> anyhow::Result<Vec<Value>> {
    let to = said["to"].as_str().context("to")?.parse()?;
    let question = Question { said, to };
    let times = said["times"].as_u64().unwrap_or(1);
    let (mut answers, mut connection, mut carried) = (Vec::new(), None, None);
    for _ in 0..times {
        let start = Instant::now();
        let answered = tokio::time::timeout(PATIENCE, question.once(&mut connection, &carried));
        let mut answer = match answered.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => json!({"error": format!("{error:#}")}),
            Err(_) => json!({"error": format!("no answer within {PATIENCE:?}")}),
        };
        if answer["error"].is_string() || said["again"] != "same" {
            connection = None;
        }
        answer["seconds"] = json!(start.elapsed().as_secs_f64());
        if let Some(name) = said["carry"].as_str() {
            carried = carry(name, &answer).or(carried);
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// What the next request brings back: the cookie that was set, or the header.
fn carry(name: &str, answer: &Value) -> Option<(String, String)> {
    let is_cookie = name == "cookie";
    let came_as = if is_cookie { "set-cookie" } else { name };
    let headers = answer["headers"].as_array()?;
    let value = headers.iter().find(|pair| pair[0] == came_as)?[1].as_str()?;
    // Its attributes are for the client alone.
    let value = if is_cookie { value.split(';').next()? } else { value };
    Some((name.to_owned(), value.to_owned()))
}

// === impl Question ===

impl Question<'_> {
    fn text(&self, field: &str) -> &str {
        self.said[field].as_str().unwrap_or_default()
    }

    async fn once(
        &self,
        connection: &mut Option<Client>,
        carried: &Option<(String, String)>,
    ) -> anyhow::Result<Value> {
        match self.text("as") {
            "tcp" => self.line().await,
            "websocket" => self.websocket().await,
            "http" | "h2c" | "grpc" | "tls" => {
                let client = match connection.take() {
                    Some(client) => client,
                    None => self.connect().await?,
                };
                let client = connection.insert(client);
                self.http(client, carried).await
            }
            other => bail!("as {other}?"),
        }
    }

    /// The first line that a server says by itself.
    async fn line(&self) -> anyhow::Result<Value> {
        let stream = TcpStream::connect(self.to).await?;
        let mut line = String::new();
        let count = BufReader::new(stream).read_line(&mut line).await?;
        ensure!(count > 0, "closed without a word");
        // `220 NAME ready`
        Ok(json!({"pod": line.split(' ').nth(1)}))
    }

    /// What comes back for a text, once the connection is a WebSocket.
    async fn websocket(&self) -> anyhow::Result<Value> {
        let stream = TcpStream::connect(self.to).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::get(self.text("path"))
            .header("host", self.text("host"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", websocket::KEY);
        for pair in self.said["headers"].as_array().into_iter().flatten() {
            let (name, value) = (pair[0].as_str(), pair[1].as_str());
            request = request.header(name.unwrap_or_default(), value.unwrap_or_default());
        }
        let response = sender.send_request(request.body(Full::new(Bytes::new()))?).await?;
        let status = response.status().as_u16();
        let headers = pairs(response.headers());
        if status != 101 {
            return Ok(json!({"status": status, "headers": headers}));
        }
        let accepted = response.headers().get("sec-websocket-accept");
        let accept = websocket::accept(websocket::KEY);
        ensure!(accepted.is_some_and(|value| *value == *accept), "not accepted: {accepted:?}");
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await?);
        stream.write_all(&websocket::frame("hello", true)).await?;
        let text = websocket::read(&mut stream).await?.context("no text came back")?;
        let said: Value = serde_json::from_str(&text)?;
        ensure!(said["text"] == "hello", "another text came back: {text}");
        Ok(json!({"status": status, "headers": headers, "said": said}))
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        if self.text("as") == "tls" {
            let stream = anyone::connect(stream, self.text("sni")).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok(Client::Http1(sender));
        }
        let io = TokioIo::new(stream);
        if self.text("as") == "http" {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            return Ok(Client::Http1(sender));
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        Ok(Client::Http2(sender))
    }

    async fn http(
        &self,
        client: &mut Client,
        carried: &Option<(String, String)>,
    ) -> anyhow::Result<Value> {
        let (host, path) = (self.text("host"), self.text("path"));
        let is_grpc = self.text("as") == "grpc";
        let mut request = Request::builder().method(self.text("method"));
        request = match client {
            Client::Http1(_) => request.uri(path).header("host", host),
            Client::Http2(_) => request.uri(format!("http://{host}{path}")),
        };
        if is_grpc {
            request = request.header("content-type", "application/grpc").header("te", "trailers");
        }
        for pair in self.said["headers"].as_array().into_iter().flatten() {
            let (name, value) = (pair[0].as_str(), pair[1].as_str());
            request = request.header(name.unwrap_or_default(), value.unwrap_or_default());
        }
        if let Some((name, value)) = carried {
            request = request.header(name, value);
        }
        let body = if is_grpc { grpc::message("") } else { self.text("body").to_owned().into() };
        let request = request.body(Full::new(body))?;
        let response = match client {
            Client::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Client::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("the body broke off")?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let octets = body.to_bytes();
        let said = if is_grpc { grpc::said(&octets) } else { octets.to_vec() };
        let answer = json!({
            "status": head.status.as_u16(),
            "protocol": format!("{:?}", head.version),
            "headers": pairs(&head.headers),
            "trailers": pairs(&trailers),
            // What our own server says; nothing if somebody else has answered.
            "said": serde_json::from_slice::<Value>(&said).unwrap_or_default(),
            "body": String::from_utf8_lossy(&said),
        });
        Ok(answer)
    }
}

fn pairs(map: &HeaderMap) -> Vec<Value> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    map.iter().map(|(name, value)| json!([name.as_str(), text(value.as_bytes())])).collect()
}
