//! Protocols that are not HTTP.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Identity;

/// Speaks first, as SMTP does, then answers line by line until QUIT.
pub(crate) async fn banner(stream: TcpStream, me: Arc<Identity>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    if write.write_all(format!("220 {} ready\r\n", me.name).as_bytes()).await.is_err() {
        return;
    }
    while let Ok(Some(line)) = lines.next_line().await {
        let done = line.trim().eq_ignore_ascii_case("quit");
        let answer = if done { "221 bye\r\n".to_owned() } else { format!("250 got {line}\r\n") };
        if write.write_all(answer.as_bytes()).await.is_err() || done {
            return;
        }
    }
}

/// Gives every byte back.
pub(crate) async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (mut read, mut write) = tokio::io::split(stream);
    tokio::io::copy(&mut read, &mut write).await.ok();
    write.shutdown().await.ok();
}
