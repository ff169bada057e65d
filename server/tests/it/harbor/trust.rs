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
fn what_is_not_signed_is_not_pulled() {
    on_both(async |seawall| {
        let admin = seawall.admin();
        let image = Image::new("one");
        let digest = admin.push(APP, "v1", &image).await;
        want_signatures(seawall, 3);
        for reference in ["v1", &digest] {
            let path = format!("/v2/{APP}/manifests/{reference}");
            let refused = admin
                .get(&path)
                .await
                .refused(412, "PROJECTPOLICYVIOLATION");
            assert_eq!(refused.message(), "The image is not signed by cosign.");
            assert_eq!(admin.head(&path).await.status, 412);
        }
        let path = format!("/v2/{APP}/manifests/v1");
        let signature = attach(&admin, APP, &image, COSIGN).await;
        let refused = admin
            .get(&path)
            .await
            .refused(412, "PROJECTPOLICYVIOLATION");
        assert_eq!(refused.message(), "The image is not signed by notation.");
        attach(&admin, APP, &image, NOTATION).await;
        admin.get(&path).await.expect(200);
        admin.head(&path).await.expect(200);
        let own = format!("/v2/{APP}/manifests/{signature}");
        admin.get(&own).await.expect(200);
        want_signatures(seawall, 0);
        admin.get(&path).await.expect(200);
    });
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
