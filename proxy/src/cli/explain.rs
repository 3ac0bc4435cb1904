//! `nodeway explain`: what would happen to a request, and why.
//!
//! What is true is found in `nodeway_core::snapshot::explain`, here of a folder, or by a node that runs.

mod text;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use nodeway_core::balance::Millis;
use nodeway_core::snapshot::explain::{Explainer, Explanation};
use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};

use super::args::{ExplainArgs, OutputArg};
use crate::admin::Asked;
use crate::source::{Folder, read_folder};

/// A node answers at once, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the explanation; fails if the request does, with 2 if that cannot be told.
pub(super) fn explain(args: &ExplainArgs) -> ExitCode {
    let told = asked(args).and_then(|asked| match &args.manifests {
        Some(folder) => by_folder(folder, &asked),
        None => by_node(args.admin, &asked),
    });
    let explanation = match told {
        Ok(explanation) => explanation,
        Err(why) => {
            eprintln!("nodeway explain: {}", why.trim_end());
            return ExitCode::from(2);
        }
    };
    match args.output {
        OutputArg::Text => print!("{}", text::of(&explanation)),
        OutputArg::Json => match serde_json::to_string_pretty(&explanation) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("nodeway explain: {error}");
                return ExitCode::from(2);
            }
        },
    }
    if explanation.verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn asked(args: &ExplainArgs) -> Result<Asked, String> {
    let (method, url) = match &args.request[..] {
        [url] => (None, url),
        [method, url] => (Some(method.clone()), url),
        _ => return Err("one method at most and one URL".to_owned()),
    };
    let headers = args.headers.iter().map(|header| {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("{header:?}: must be \"NAME: VALUE\""))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    });
    let headers = headers.collect::<Result<_, String>>()?;
    Ok(Asked { from: args.from.clone(), method, url: url.clone(), headers })
}

/// As a node would do it on which the pod is, with all endpoints well.
fn by_folder(folder: &Path, asked: &Asked) -> Result<Explanation, String> {
    let question = asked.question()?;
    let files = read_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (changes, problems) = Folder::default().update(files);
    for problem in problems {
        eprintln!("nodeway explain: {problem}");
    }
    let mut store = Store::default();
    for change in changes {
        store.apply(change);
    }
    let node_name = store.pod(&question.from).and_then(|pod| pod.node.clone());
    let options = CompileOptions { enroll: Enroll::Label, node_name };
    let compiled = Compiler::new(options).compile(&mut store);
    let snapshot = compiled.map(|compiled| compiled.snapshot).unwrap_or_default();
    Explainer { store: &store, snapshot: &snapshot, now: Millis(0) }
        .explain(&question)
        .map_err(|unknown| unknown.to_string())
}

fn by_node(admin: SocketAddr, asked: &Asked) -> Result<Explanation, String> {
    let body = serde_json::to_vec(asked).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, post(admin, body)).await.map_err(anyhow::Error::from)?
    });
    let (status, body) = answer
        .map_err(|error| format!("{admin}: {error:#} (is nodeway running there? see --admin)"))?;
    if status == StatusCode::OK {
        serde_json::from_slice(&body).map_err(|error| format!("{admin}: {error}"))
    } else {
        Err(String::from_utf8_lossy(&body).into_owned())
    }
}

async fn post(admin: SocketAddr, body: Vec<u8>) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::TcpStream::connect(admin).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post("/explain")
        .header(HOST, admin.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::select! {
        answer = asking => answer,
        ended = connection => Err(ended.err().map_or_else(
            || anyhow::anyhow!("the connection was closed without an answer"), Into::into)),
    }
}

#[cfg(test)]
mod tests {
    use nodeway_core::snapshot::explain::Outcome;

    use super::*;

    fn asked(url: &str) -> Asked {
        let headers = vec![("x-version".to_owned(), "2".to_owned())];
        Asked { from: "shop/client".into(), method: None, url: url.into(), headers }
    }

    #[test]
    fn the_documents_example_is_what_it_prints() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let shop = root.join("docs/examples/shop");
        let explanation = by_folder(&shop, &asked("http://web.shop/legacy")).unwrap();
        let document = std::fs::read_to_string(root.join("docs/explain.md")).unwrap();
        let printed = text::of(&explanation);
        assert!(document.contains(&printed), "docs/explain.md does not show:\n{printed}");
    }

    #[test]
    fn json_says_the_same_and_keeps_its_names() {
        let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/shop");
        let explanation = by_folder(&shop, &asked("http://10.96.0.10/legacy/x")).unwrap();
        assert_eq!(explanation.verdict, Outcome::Sent);
        let value = serde_json::to_value(&explanation).unwrap();
        for (pointer, wanted) in [
            ("/verdict", serde_json::json!("sent")),
            ("/client/inMesh", serde_json::json!(true)),
            ("/frontend/path", serde_json::json!("/legacy/x")),
            ("/routes/0/applies", serde_json::json!(true)),
            ("/rule/matchedPrefix", serde_json::json!("/legacy")),
            (
                "/rule/filters/0",
                serde_json::json!("request headers: set x-legacy: true, remove x-debug"),
            ),
            ("/matches/0/match", serde_json::json!(0)),
            ("/matches/0/wants", serde_json::json!("under /legacy")),
            ("/backends/0/endpoints/0/usable", serde_json::json!(true)),
        ] {
            assert_eq!(value.pointer(pointer), Some(&wanted), "{pointer}: {value:#}");
        }
        let back: Explanation = serde_json::from_value(value).unwrap();
        assert_eq!(back, explanation);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let why = by_folder(Path::new("/nowhere/at/all"), &asked("http://web")).unwrap_err();
        assert!(why.contains("/nowhere/at/all"), "{why}");
    }
}
