//! What is left in an engine by a build that ends in between.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::backend::ImageBuilder as _;

/// An engine that builds anything at once, and begins to save an image without ever getting on with it.
struct Engine {
    asked: watch::Receiver<Vec<String>>,
}

impl Engine {
    fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (told, asked) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, told.clone()));
            }
        });
        Self { asked }
    }

    /// Waits until it is asked for what begins with `start`.
    async fn until(&self, start: &str) {
        let mut asked = self.asked.clone();
        let seen = asked.wait_for(|asked| asked.iter().any(|line| line.starts_with(start)));
        assert!(
            tokio::time::timeout(Duration::from_secs(20), seen).await.is_ok(),
            "{start}: {:?}",
            self.asked.borrow()
        );
    }
}

async fn serve(mut stream: UnixStream, told: watch::Sender<Vec<String>>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte.into());
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    told.send_modify(|asked| asked.push(line.clone()));
    let full = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = match line.split_once(' ').unwrap_or_default() {
        ("GET", rest) if rest.starts_with("/version") => full(r#"{"Version": "24.0.0", "ApiVersion": "1.43"}"#),
        ("POST", rest) if rest.starts_with("/session") => {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned()
        }
        ("POST", rest) if rest.starts_with("/build?") => {
            full(&format!("{{\"id\": \"moby.image.id\", \"aux\": {{\"ID\": \"{}\"}}}}\n", Digest::of("image")))
        }
        ("GET", _) => "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n".to_owned(),
        _ => full("[]"),
    };
    _ = stream.write_all(answer.as_bytes()).await;
    // Until the other side ends it.
    _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_build_that_is_cancelled_while_its_image_is_saved_leaves_no_image_in_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("engine");
    let engine = Engine::start(&socket);
    let builder = DockerBuilder::new(place.path().join("images"), "docker".parse().unwrap()).socket(&socket);
    let spec = ImageSpec::new(Platform::current()).context_dir(dir.path());
    let token = CancellationToken::new();
    let cx = Context::new("test".parse().unwrap()).with_cancellation(token.clone());
    let cancel = async {
        engine.until("GET /images/ecolaura-deploy-build:").await;
        token.cancel();
    };
    let (built, ()) = tokio::join!(builder.build(&cx, &spec), cancel);
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Cancelled);
    engine.until("DELETE /images/ecolaura-deploy-build:").await;
}
