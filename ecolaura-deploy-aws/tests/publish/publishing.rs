//! Whole publishes, and what is in the bucket after them.

use std::fs;

use aws_sdk_s3::Client;
use ecolaura_deploy_aws::{S3Cdn, publish::Weight};
use ecolaura_deploy_core::{
    ErrorKind,
    backend::{CdnPublisher as _, Inspect as _, SiteObject, UploadRequest},
    cdn::{Compression, PublishOptions, SiteSource, publish, switch_back},
    vocabulary::{CacheControl, Digest},
};

use super::support::{account, cdn, client, cx, endpoints, real_endpoints, script, site};

async fn keys(client: &Client, cdn: &S3Cdn) -> Vec<String> {
    let listed = client.list_objects_v2().bucket(cdn.bucket()).send().await.unwrap();
    listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

async fn text(client: &Client, cdn: &S3Cdn, key: &str) -> (String, String, String) {
    let found = client.get_object().bucket(cdn.bucket()).key(key).send().await.unwrap();
    let header = |value: Option<String>| value.unwrap_or_default();
    let (kind, cache) = (header(found.content_type), header(found.cache_control));
    let content = found.body.collect().await.unwrap().into_bytes();
    (String::from_utf8(content.to_vec()).unwrap(), kind, cache)
}

#[tokio::test]
async fn a_site_is_published_taken_back_and_pruned() {
    for endpoint in endpoints() {
        let (cdn, dir) = (cdn(&endpoint).await, tempfile::tempdir().unwrap());
        let client = client(&account(&endpoint).await);
        let options = PublishOptions::default();
        let first = publish(&cx(), &cdn, &site(dir.path(), 1).await, &options).await.unwrap();
        assert_eq!(first.uploaded, 4);
        let again = publish(&cx(), &cdn, &site(dir.path(), 1).await, &options).await.unwrap();
        assert_eq!(again.uploaded, 0);
        let second = publish(&cx(), &cdn, &site(dir.path(), 2).await, &options).await.unwrap();
        assert_eq!(second.uploaded, 2);

        let page = format!("{} logo.0123abcd.svg", script(2));
        let served = text(&client, &cdn, "site/index.html").await;
        assert_eq!(served, (page, "text/html; charset=utf-8".to_owned(), "no-cache".to_owned()));
        let asset = text(&client, &cdn, &format!("site/{}", script(1))).await;
        assert_eq!((asset.0.as_str(), asset.1.as_str()), ("script 1", "text/javascript; charset=utf-8"));

        switch_back(&cx(), &cdn, Some(first.release)).await.unwrap();
        assert!(text(&client, &cdn, "site/index.html").await.0.starts_with(&script(1)));
        assert_eq!(cdn.prune(&cx(), 1).await.unwrap(), [script(2)]);
        let left = keys(&client, &cdn).await;
        assert_eq!(left.iter().filter(|key| key.starts_with("site/")).count(), 4, "{left:?}");
        assert_eq!(left.len(), 4 + 4, "the served keys, two contents, a manifest and the pointer: {left:?}");
    }
}

#[tokio::test]
async fn variants_are_stored_with_their_encoding_and_an_unchanged_site_is_not_sent_again() {
    for endpoint in endpoints() {
        let (cdn, dir) = (cdn(&endpoint).await, tempfile::tempdir().unwrap());
        let client = client(&account(&endpoint).await);
        let script = "let a = 1;".repeat(1000);
        fs::write(dir.path().join("app.4f2a91c0.js"), &script).unwrap();
        fs::write(dir.path().join("index.html"), "app.4f2a91c0.js").unwrap();
        let site = async || SiteSource::new(dir.path()).compress(Compression::new()).prepare(&cx()).await.unwrap();
        let first = publish(&cx(), &cdn, &site().await, &PublishOptions::default()).await.unwrap();
        assert_eq!(first.uploaded, 4, "a script in three encodings, and a page that is the same in all");
        assert_eq!(publish(&cx(), &cdn, &site().await, &PublishOptions::default()).await.unwrap().uploaded, 0);
        for (key, encoding) in [("app.4f2a91c0.js", None), ("app.4f2a91c0.js.br", Some("br")), ("index.html.gz", None)]
        {
            let found = client.get_object().bucket(cdn.bucket()).key(format!("site/{key}")).send().await.unwrap();
            assert_eq!(found.content_encoding(), encoding, "{key}");
        }
        let served = text(&client, &cdn, "site/app.4f2a91c0.js").await;
        assert_eq!((served.0, served.1.as_str()), (script, "text/javascript; charset=utf-8"));
    }
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_one_that_changed_leaves_nothing() {
    for endpoint in endpoints() {
        let (cdn, dir) = (cdn(&endpoint).await.part_size(0), tempfile::tempdir().unwrap());
        let client = client(&account(&endpoint).await);
        let content: Vec<u8> = (0..11 << 20).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
        let path = dir.path().join("large.wasm");
        fs::write(&path, &content).unwrap();
        let object = |content: &[u8]| {
            SiteObject::new(Digest::of(content), content.len() as u64, "application/wasm", CacheControl::Immutable)
        };
        let wrong = UploadRequest::new("large.4f2a91c0.wasm", &path, object(&content[1..]));
        assert_eq!(cdn.upload(&cx(), &wrong).await.unwrap_err().kind(), ErrorKind::Corrupt);
        let open = client.list_multipart_uploads().bucket(cdn.bucket()).send().await.unwrap();
        assert_eq!((open.uploads().len(), keys(&client, &cdn).await.len()), (0, 0));

        let right = UploadRequest::new("large.4f2a91c0.wasm", &path, object(&content));
        assert!(cdn.upload(&cx(), &right).await.unwrap());
        let found = client.get_object().bucket(cdn.bucket()).key("site/large.4f2a91c0.wasm").send().await.unwrap();
        assert_eq!(found.content_type.as_deref(), Some("application/wasm"));
        assert!(found.body.collect().await.unwrap().into_bytes() == content);
    }
}

#[tokio::test]
async fn the_check_of_a_new_bucket_advises_and_one_that_is_not_there_is_refused() {
    for endpoint in real_endpoints() {
        let account = account(&endpoint).await;
        let cdn = cdn(&endpoint).await;
        let findings = cdn.check(&cx()).await.unwrap();
        assert!(findings.0.iter().all(|finding| finding.weight == Weight::Advice), "{findings:?}");
        findings.refuse(&cx()).unwrap();
        let nowhere = S3Cdn::new("web".parse().unwrap(), account, "no-such-bucket-of-ours");
        let error = nowhere.check(&cx()).await.unwrap().refuse(&cx()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.report().contains("arn:aws:s3:::no-such-bucket-of-ours"), "{}", error.report());
        assert!(nowhere.history(&cx()).await.unwrap_err().report().contains("NoSuchBucket"));
    }
}

#[tokio::test]
async fn a_half_upload_is_found_and_taken_away() {
    for endpoint in endpoints() {
        let cdn = cdn(&endpoint).await.grace(std::time::Duration::ZERO);
        let client = client(&account(&endpoint).await);
        client.create_multipart_upload().bucket(cdn.bucket()).key("site/large.wasm").send().await.unwrap();
        let left = cdn.leftovers(&cx()).await.unwrap();
        assert_eq!(left.iter().map(|left| left.kind.as_str()).collect::<Vec<_>>(), ["half upload"]);
        for _ in 0..2 {
            cdn.clean(&cx(), &left[0]).await.unwrap();
        }
        assert!(cdn.leftovers(&cx()).await.unwrap().is_empty());
    }
}
