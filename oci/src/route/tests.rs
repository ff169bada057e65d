use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A route in one line, so that the tables below can be read.
fn shown(method: &str, path: &str) -> String {
    match parse(method, path) {
        Ok(Route::Ping) => "ping".to_owned(),
        Ok(Route::Catalog) => "catalog".to_owned(),
        Ok(Route::Tags { name }) => format!("tags of {name}"),
        Ok(Route::Manifest {
            name,
            reference: Reference::Tag(tag),
            verb,
        }) => format!("{verb:?} manifest {name} tag {tag}"),
        Ok(Route::Manifest {
            name,
            reference: Reference::Digest(digest),
            verb,
        }) => {
            format!("{verb:?} manifest {name} digest {}", &digest.hex()[..4])
        }
        Ok(Route::Blob { name, digest, verb }) => {
            format!("{verb:?} blob {name} {}", &digest.hex()[..4])
        }
        Ok(Route::UploadStart { name }) => format!("start upload in {name}"),
        Ok(Route::Upload { name, id, verb }) => format!("{verb:?} upload {name} {id}"),
        Ok(Route::Referrers { name, digest }) => {
            format!("referrers of {name} {}", &digest.hex()[..4])
        }
        Err(error) => {
            let name = error
                .name()
                .map(|name| format!(" in {name}"))
                .unwrap_or_default();
            let allow = match error {
                RouteError::MethodNotAllowed { allow, .. } => format!(" ({allow})"),
                _ => String::new(),
            };
            format!("{}{name}{allow}", error.code())
        }
    }
}

/// One request a line: `METHOD path => what it means`.
fn check(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expected) = line.split_once(" => ").unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(
            shown(method, &path.replace("HEX", HEX)),
            expected,
            "{request}"
        );
    }
}

#[test]
fn every_endpoint_of_the_spec_has_its_route() {
    check(
        "
        GET /v2/ => ping
        GET /v2 => ping
        HEAD /v2/ => ping
        GET /v2/_catalog => catalog
        GET /v2/lib/x/blobs/sha256:HEX => Get blob lib/x e3b0
        HEAD /v2/lib/x/blobs/sha256:HEX => Head blob lib/x e3b0
        DELETE /v2/lib/x/blobs/sha256:HEX => Delete blob lib/x e3b0
        GET /v2/lib/x/blobs/sha512:HEXHEX => Get blob lib/x e3b0
        GET /v2/lib/x/manifests/latest => Get manifest lib/x tag latest
        HEAD /v2/lib/x/manifests/sha256:HEX => Head manifest lib/x digest e3b0
        PUT /v2/lib/x/manifests/v1.0_a-b => Put manifest lib/x tag v1.0_a-b
        DELETE /v2/lib/x/manifests/v1 => Delete manifest lib/x tag v1
        POST /v2/lib/x/blobs/uploads/ => start upload in lib/x
        POST /v2/lib/x/blobs/uploads => start upload in lib/x
        GET /v2/lib/x/blobs/uploads/id-1 => Status upload lib/x id-1
        HEAD /v2/lib/x/blobs/uploads/id-1 => Status upload lib/x id-1
        PATCH /v2/lib/x/blobs/uploads/id-1 => Append upload lib/x id-1
        PUT /v2/lib/x/blobs/uploads/id-1 => Finish upload lib/x id-1
        DELETE /v2/lib/x/blobs/uploads/id-1 => Cancel upload lib/x id-1
        GET /v2/lib/x/tags/list => tags of lib/x
        GET /v2/lib/x/referrers/sha256:HEX => referrers of lib/x e3b0
        ",
    );
}

#[test]
fn names_may_look_like_endpoints() {
    check(
        "
        GET /v2/x/tags/list => tags of x
        GET /v2/a/b/c/d/e/tags/list => tags of a/b/c/d/e
        GET /v2/a/tags/list/tags/list => tags of a/tags/list
        GET /v2/tags/list/tags/list => tags of tags/list
        GET /v2/a/manifests/tags/list => tags of a/manifests
        GET /v2/manifests/manifests/manifests => Get manifest manifests tag manifests
        GET /v2/a/blobs/uploads/manifests/v1 => Get manifest a/blobs/uploads tag v1
        GET /v2/a/manifests/list => Get manifest a tag list
        GET /v2/a/blobs/blobs/sha256:HEX => Get blob a/blobs e3b0
        POST /v2/a/blobs/uploads/blobs/uploads/ => start upload in a/blobs/uploads
        POST /v2/blobs/blobs/uploads => start upload in blobs
        PATCH /v2/a/blobs/uploads/blobs/uploads/x => Append upload a/blobs/uploads x
        PATCH /v2/a/blobs/uploads/list => Append upload a list
        GET /v2/a/tags/referrers/sha256:HEX => referrers of a/tags e3b0
        GET /v2/v2/v2/manifests/v2 => Get manifest v2/v2 tag v2
        ",
    );
}

#[test]
fn escapes_are_undone_in_digests_alone() {
    check(
        "
        GET /v2/a/blobs/sha256%3AHEX => Get blob a e3b0
        GET /v2/a/blobs/sha256%3aHEX => Get blob a e3b0
        GET /v2/a/manifests/sha256%3AHEX => Get manifest a digest e3b0
        GET /v2/a/referrers/sha256%3AHEX => referrers of a e3b0
        GET /v2/a%2Fb/manifests/v1 => NAME_INVALID
        GET /v2/%61/manifests/v1 => NAME_INVALID
        GET /v2/a/manifests/b%2Fmanifests%2Fc => MANIFEST_INVALID in a
        GET /v2/a/manifests/v1%2E0 => MANIFEST_INVALID in a
        GET /v2/a/manifests/b%2F%3A => DIGEST_INVALID in a
        GET /v2/a/blobs/%2e%2e%2fsha256%3AHEX => DIGEST_INVALID in a
        GET /v2/a/blobs/sha256% => DIGEST_INVALID in a
        GET /v2/a/blobs/sha256%3ä => DIGEST_INVALID in a
        ",
    );
}

#[test]
fn what_is_malformed_says_what_it_is() {
    check(
        "
        GET / => NAME_UNKNOWN
        GET  => NAME_UNKNOWN
        GET /v2x => NAME_UNKNOWN
        GET /v1/_catalog => NAME_UNKNOWN
        GET /v2/x => NAME_UNKNOWN
        GET /v2/x/ => NAME_UNKNOWN
        GET /v2// => NAME_UNKNOWN
        GET /v2/_catalog/ => NAME_UNKNOWN
        GET /v2/x/tags/list/ => NAME_UNKNOWN
        GET /v2/x/tags/other => NAME_UNKNOWN
        GET /v2/tags/list => NAME_UNKNOWN
        GET /v2/manifests/latest => NAME_UNKNOWN
        GET /v2/x/uploads/y => NAME_UNKNOWN
        GET /v2//manifests/latest => NAME_INVALID
        GET /v2/Lib/x/manifests/latest => NAME_INVALID
        GET /v2/a//b/tags/list => NAME_INVALID
        GET /v2/../x/tags/list => NAME_INVALID
        POST /v2/-/blobs/uploads/ => NAME_INVALID
        PATCH /v2/a_/blobs/uploads/id => NAME_INVALID
        GET /v2/a/manifests/ => MANIFEST_INVALID in a
        GET /v2/a/manifests/.x => MANIFEST_INVALID in a
        GET /v2/a/manifests/x y => MANIFEST_INVALID in a
        GET /v2/a/manifests/sha256:baddigeststring => DIGEST_INVALID in a
        GET /v2/a/manifests/md5:00 => DIGEST_INVALID in a
        GET /v2/a/blobs/latest => DIGEST_INVALID in a
        GET /v2/a/blobs/ => DIGEST_INVALID in a
        GET /v2/a/referrers/latest => DIGEST_INVALID in a
        ",
    );
}

#[test]
fn a_wrong_method_learns_the_right_ones() {
    check(
        "
        POST /v2/ => UNSUPPORTED (GET, HEAD)
        DELETE /v2/_catalog => UNSUPPORTED (GET, HEAD)
        POST /v2/a/manifests/x => UNSUPPORTED in a (GET, HEAD, PUT, DELETE)
        get /v2/a/manifests/x => UNSUPPORTED in a (GET, HEAD, PUT, DELETE)
        PUT /v2/a/blobs/sha256:HEX => UNSUPPORTED in a (GET, HEAD, DELETE)
        GET /v2/a/blobs/uploads/ => UNSUPPORTED in a (POST)
        POST /v2/a/blobs/uploads/id => UNSUPPORTED in a (GET, HEAD, PATCH, PUT, DELETE)
        PUT /v2/a/tags/list => UNSUPPORTED in a (GET, HEAD)
        PUT /v2/a/referrers/sha256:HEX => UNSUPPORTED in a (GET, HEAD)
        ",
    );
}
