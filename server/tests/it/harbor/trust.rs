//! Projects whose content must be signed before it is pulled.

use super::artifacts::attach;
use crate::harness::{Image, Seawall, on_both};

const APP: &str = "library/app";
const NOTATION: &str = "application/vnd.cncf.notary.signature";
const COSIGN: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// 1 wants notation's signatures, 2 cosign's.
fn want_signatures(seawall: &Seawall, bits: u8) {
    // Through a command afterwards, so that what was remembered of rights is dropped.
    seawall.sql(&format!(
        "UPDATE projects SET trust = {bits} WHERE name = 'library'"
    ));
    seawall.run(&["project", "create", &format!("after-{bits}")]);
}

#[test]
fn whoever_signs_may_read_what_he_signs() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        admin.push(APP, "v1", &Image::new("one")).await;
        want_signatures(seawall, 2);
        let path = format!("/v2/{APP}/manifests/v1");
        let token = admin.token("repository:library/app:pull,push").await;
        let as_cosign = async |client: &crate::harness::Client| {
            client
                .request("GET", &path)
                .header("user-agent", "cosign/v2.4.1 (linux; amd64)")
                .send()
                .await
        };
        as_cosign(&token).await.expect(200);
        as_cosign(&admin)
            .await
            .refused(412, "PROJECTPOLICYVIOLATION");
        token
            .get(&path)
            .await
            .refused(412, "PROJECTPOLICYVIOLATION");
        seawall.make_user("reader");
        let reader = seawall.user("reader");
        let reader = reader.token("repository:library/app:pull").await;
        as_cosign(&reader)
            .await
            .refused(412, "PROJECTPOLICYVIOLATION");
    });
}
