//! What the system tells of itself: health, information, room, certificate.

use serde_json::{Value, json};

use crate::harness::{
    on_both, on_both_with,
    server::{on_directories_with, on_sqlite_with},
};

/// The names of an object's members.
fn names(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn strangers_hear_what_a_login_page_needs_and_people_the_rest() {
    on_both(async |seawall| {
        let told = seawall.stranger().api_get("/systeminfo").await.expect(200);
        assert_eq!(
            told.json(),
            json!({
                "auth_mode": "db_auth", "primary_auth_mode": false, "self_registration": false,
                "banner_message": "", "oidc_provider_name": "",
            })
        );
        seawall.make_user("reader");
        for client in [seawall.user("reader"), seawall.admin()] {
            let told = client.api_get("/systeminfo").await.expect(200).json();
            for name in [
                "auth_mode",
                "current_time",
                "registry_url",
                "external_url",
                "harbor_version",
                "project_creation_restriction",
                "has_ca_root",
                "registry_storage_provider_name",
                "read_only",
                "notification_enable",
            ] {
                assert!(names(&told).contains(&name), "{name} in {told}");
            }
            assert_eq!(told["registry_url"], seawall.address());
            assert_eq!(
                told["external_url"],
                format!("http://{}", seawall.address())
            );
            assert_eq!(told["has_ca_root"], false);
            let version = told["harbor_version"].as_str().expect("a text");
            assert!(
                version.starts_with("v2.16.0-") && version.len() == 16,
                "{version}"
            );
        }
    });
}

#[test]
fn administrators_see_the_room_of_the_store() {
    on_directories_with(&[], async |seawall| {
        let told = seawall
            .admin()
            .api_get("/systeminfo/volumes")
            .await
            .expect(200)
            .json();
        let storage = &told["storage"][0];
        let (total, free) = (storage["total"].as_u64(), storage["free"].as_u64());
        assert!(total > free && free > Some(0), "{told}");
        seawall
            .stranger()
            .api_get("/systeminfo/volumes")
            .await
            .refused(401, "UNAUTHORIZED");
        seawall.make_user("reader");
        let refused = seawall.user("reader").api_get("/systeminfo/volumes").await;
        assert_eq!(refused.message(), "reader");
        refused.refused(403, "FORBIDDEN");
    });
}

#[test]
fn the_authoritys_certificate_is_downloaded_where_there_is_one() {
    on_both(async |seawall| {
        seawall
            .stranger()
            .api_get("/systeminfo/getcert")
            .await
            .refused(404, "NOT_FOUND");
    });
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("ca.crt");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    std::fs::write(&file, &pem).expect("written");
    let path = file.display().to_string();
    on_sqlite_with(&[("SEAWALL_TLS__CA_FILE", &path)], async |seawall| {
        let told = seawall
            .stranger()
            .api_get("/systeminfo/getcert")
            .await
            .expect(200);
        assert_eq!(
            told.header("content-disposition"),
            "attachment; filename=\"ca.crt\""
        );
        let lines = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&told.text()), lines(&pem));
        let info = seawall
            .admin()
            .api_get("/systeminfo")
            .await
            .expect(200)
            .json();
        assert_eq!(info["has_ca_root"], true);
    });
}

#[test]
fn health_names_every_part_in_order() {
    on_both(async |seawall| {
        let told = seawall
            .stranger()
            .api_get("/health")
            .await
            .expect(200)
            .json();
        assert_eq!(told["status"], "healthy");
        let parts = told["components"].as_array().expect("a list");
        let names: Vec<_> = parts
            .iter()
            .filter_map(|part| part["name"].as_str())
            .collect();
        assert_eq!(
            names,
            ["core", "database", "jobservice", "registry", "registryctl"]
        );
        assert!(parts.iter().all(|part| part["status"] == "healthy"));
    });
}

#[test]
fn health_answers_200_also_when_a_part_is_away() {
    on_directories_with(&[], async |seawall| {
        let identity = seawall.data().join("storage/store-id");
        std::fs::write(&identity, "of another store\n").expect("written");
        // Looked at every two seconds.
        let began = std::time::Instant::now();
        let told = loop {
            let told = seawall
                .stranger()
                .api_get("/health")
                .await
                .expect(200)
                .json();
            if told["status"] == "unhealthy" {
                break told;
            }
            assert!(began.elapsed().as_secs() < 30, "{told}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let registry = &told["components"][3];
        assert_eq!(
            (&registry["name"], &registry["status"]),
            (&json!("registry"), &json!("unhealthy"))
        );
        assert_eq!(registry["error"], "does not work: the log says why");
        let why = seawall.admin().api_get("/health").await.expect(200).json();
        assert_ne!(why["components"][3]["error"], registry["error"]);
    });
}

#[test]
fn the_external_url_is_named_where_it_is_configured() {
    let settings = [(
        "SEAWALL_SERVER__EXTERNAL_URL",
        "https://registry.example:8443",
    )];
    on_both_with(&settings, async |seawall| {
        let told = seawall
            .admin()
            .api_get("/systeminfo")
            .await
            .expect(200)
            .json();
        assert_eq!(told["external_url"], "https://registry.example:8443");
        assert_eq!(told["registry_url"], "registry.example:8443");
    });
}

#[test]
fn old_and_inner_paths_are_answered_as_harbor_answers_them() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        for path in ["/v1/_ping", "/v1/", "/v1/search?q=x"] {
            admin.get(path).await.refused(404, "NOT_FOUND");
        }
        for client in [seawall.stranger(), admin.clone()] {
            let refused = client.api_get("/internalconfig").await;
            assert_eq!(
                refused.message(),
                "only internal service is allowed to call this API"
            );
            refused.refused(401, "UNAUTHORIZED");
        }
        let version = admin.get("/api/version").await.expect(200);
        assert_eq!(version.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(version.json(), json!({ "version": "v2.0" }));
    });
}
