//! A relay before the API server, whose connections can be cut.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Hands bytes on until it is dropped.
pub(super) struct Relay {
    address: SocketAddr,
    cuts: watch::Sender<()>,
}

impl Relay {
    /// To `host:port`.
    pub(super) async fn before(server: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, cut) = watch::channel(());
        tokio::spawn(async move {
            let mut gone = cut.clone();
            loop {
                let client = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    // A cut ends what stands, and only the end of the relay ends this.
                    cut = gone.changed() => match cut {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                };
                tokio::spawn(hand_on(client, server.clone(), cut.clone()));
            }
        });
        Self { address, cuts }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Ends every connection that stands.
    pub(super) fn cut(&self) {
        self.cuts.send_replace(());
    }
}

async fn hand_on(mut client: TcpStream, server: String, mut cut: watch::Receiver<()>) {
    cut.mark_unchanged();
    let mut server = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        // Whether one side closed or broke off, both are closed.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.changed() => {}
    }
}
