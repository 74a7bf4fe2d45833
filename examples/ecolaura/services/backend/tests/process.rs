//! The service as a cluster runs it: a process, configured by its environment, ended by a signal.

#[cfg(test)]
mod process {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::TcpStream,
        path::PathBuf,
        process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    };

    use rusqlite::Connection;
    use serde_json::Value;

    struct Service {
        child: Child,
        log: BufReader<ChildStdout>,
        address: String,
        folder: PathBuf,
    }

    impl Service {
        fn start(name: &str, misbehave: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("ecolaura-process-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join("ecolaura.db");
            let database = Connection::open(&path).unwrap();
            database.execute_batch(include_str!("../../../migrations/0001_plants.up.sql")).unwrap();
            database.execute_batch(include_str!("../../../migrations/0002_notes.up.sql")).unwrap();
            database.execute_batch(include_str!("../../../migrations/0003_care.up.sql")).unwrap();
            database.execute_batch("CREATE TABLE _sqlx_migrations (version BIGINT, success BOOLEAN)").unwrap();
            database.execute_batch("INSERT INTO _sqlx_migrations VALUES (3, TRUE)").unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_ecolaura-backend"))
                .env_clear()
                .envs([("PORT", "0"), ("API_TOKEN", "a-secret"), ("MISBEHAVE", misbehave)])
                .env("DATABASE_PATH", path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let log = BufReader::new(child.stdout.take().unwrap());
            let mut service = Self { child, log, address: String::new(), folder };
            let line = service.line();
            service.address = line["address"].as_str().unwrap_or_default().to_owned();
            service
        }

        fn line(&mut self) -> Value {
            let mut line = String::new();
            self.log.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        }

        fn send(&self, request: &str) -> TcpStream {
            let mut stream = TcpStream::connect(&self.address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        }

        fn get(&self, path: &str) -> String {
            answer(self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")))
        }

        fn terminate(&self) {
            let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
            assert!(sent.success());
        }

        /// How it ended, and what it logged until then.
        fn end(mut self) -> (ExitStatus, String) {
            let mut log = String::new();
            self.log.read_to_string(&mut log).unwrap();
            (self.child.wait().unwrap(), log)
        }
    }

    impl Drop for Service {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_tells_what_it_is_and_what_it_did() {
        let service = Service::start("answers", "none");
        for path in ["/healthz", "/readyz", "/version", "/api/plants", "/api/plants/1/notes"] {
            let answer = service.get(path);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
        let metrics = service.get("/metrics");
        assert!(metrics.contains("http_requests_total{method=\"GET\",path=\"/api/plants\",code=\"200\"} 1\n"));
        assert!(!metrics.contains("healthz"));
    }

    #[test]
    fn half_of_the_requests_fail_on_demand_and_health_does_not() {
        let service = Service::start("errors", "errors");
        let failed = (0..10).filter(|_| service.get("/api/plants").starts_with("HTTP/1.1 500 ")).count();
        assert_eq!(failed, 5);
        assert!(service.get("/readyz").starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_request_in_flight_is_answered_before_it_ends() {
        let mut service = Service::start("ends", "none");
        let head = "POST /api/plants/1/notes HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a-secret\r\n";
        let mut request = service.send(&format!("{head}content-length: 15\r\n\r\n{{\"text\":"));
        service.get("/healthz");
        service.terminate();
        assert_eq!(service.line()["message"], "ending");
        assert!(service.get("/readyz").starts_with("HTTP/1.1 503 "));
        request.write_all(b"\"late\"}").unwrap();
        assert!(answer(request).starts_with("HTTP/1.1 201 "));
        let (status, log) = service.end();
        assert!(status.success() && log.contains("\"drained\":true"), "{status}: {log}");
        assert!(!log.contains("a-secret"), "{log}");
    }

    #[test]
    fn it_crashes_on_demand() {
        assert_eq!(Service::start("crash", "crash").end().0.code(), Some(70));
    }
}
