//! A mail server that takes every mail and keeps it: enough of RFC 5321 for one client at a time.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The server; it stops with the value.
pub(crate) struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<Delivery>>>,
    task: tokio::task::JoinHandle<()>,
}

/// A mail as it was handed over.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The address that the envelope names.
    pub recipient: String,
    /// The mail itself.
    pub text: String,
}

impl MailServer {
    /// A server on this port of loopback; 0 lets the system choose.
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port for the mail server");
        let port = listener.local_addr().expect("an address").port();
        let mails = Arc::<Mutex<Vec<Delivery>>>::default();
        let kept = mails.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move { converse(socket, &kept).await.ok() });
            }
        });
        Self { port, mails, task }
    }

    /// What `SMTP_URL` should be.
    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// What has arrived so far.
    pub(crate) fn mails(&self) -> Vec<Delivery> {
        self.mails.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(mut socket: TcpStream, kept: &Mutex<Vec<Delivery>>) -> std::io::Result<()> {
    let (reader, mut writer) = socket.split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 test\r\n").await?;
    let mut recipient = String::new();
    while let Some(line) = lines.next_line().await? {
        let command = line.to_ascii_uppercase();
        if let Some(address) = command.starts_with("RCPT TO:").then(|| &line["RCPT TO:".len()..]) {
            recipient = address.trim().trim_matches(['<', '>']).to_owned();
        }
        if command != "DATA" {
            let answer: &[u8] = if command == "QUIT" { b"221 bye\r\n" } else { b"250 fine\r\n" };
            writer.write_all(answer).await?;
            continue;
        }
        writer.write_all(b"354 go on\r\n").await?;
        let mut text = String::new();
        while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push('\n');
        }
        kept.lock().unwrap().push(Delivery { recipient: recipient.clone(), text });
        writer.write_all(b"250 kept\r\n").await?;
    }
    Ok(())
}
