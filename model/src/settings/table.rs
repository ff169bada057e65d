//! Every setting: Harbor's user-scope keys of 2.16 and the mail settings of older Harbors.

use super::{
    Kind::{
        self, Bool, Endpoint, Int, Limit, Map, NonEmpty, OneOf, Password, Prefix, Text, TextMap,
    },
    Setting,
};

/// Harbor's bound on times: ten digits.
const PERIOD: Kind = Int {
    least: 1,
    most: 9_999_999_999,
};
const LDAP_SCOPE: Kind = Int { least: 0, most: 2 };

const fn used(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        name,
        kind,
        default,
        later: false,
    }
}

const fn later(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        name,
        kind,
        default,
        later: true,
    }
}

/// In the order in which they are shown.
#[rustfmt::skip]
pub const ALL: &[Setting] = &[
    used("auth_mode", OneOf(&["db_auth", "ldap_auth", "oidc_auth", "uaa_auth", "http_auth"]), "db_auth"),
    used("primary_auth_mode", Bool, "false"),
    used("self_registration", Bool, "false"),
    used("project_creation_restriction", OneOf(&["everyone", "adminonly"]), "everyone"),
    used("read_only", Bool, "false"),
    used("token_expiration", PERIOD, "30"),
    used("session_timeout", PERIOD, "60"),
    used("robot_token_duration", PERIOD, "30"),
    used("robot_name_prefix", Prefix, "robot$"),
    used("quota_per_project_enable", Bool, "true"),
    used("storage_per_project", Limit, "-1"),
    used("notification_enable", Bool, "true"),
    used("banner_message", Text, ""),

    used("audit_log_forward_endpoint", Endpoint, ""),
    used("skip_audit_log_database", Bool, "false"),
    used("disabled_audit_log_event_types", Text, ""),
    used("pull_audit_log_disable", Bool, "false"),
    used("pull_time_update_disable", Bool, "false"),
    used("pull_count_update_disable", Bool, "false"),
    used("scanner_skip_update_pulltime", Bool, "false"),
    later("scan_all_policy", Map, ""),

    used("email_host", Text, ""),
    used("email_port", Int { least: 1, most: 65_535 }, "25"),
    used("email_username", Text, ""),
    used("email_password", Password, ""),
    used("email_from", Text, ""),
    used("email_ssl", Bool, "false"),
    used("email_insecure", Bool, "false"),
    used("email_identity", Text, ""),

    later("ldap_url", NonEmpty, ""),
    later("ldap_base_dn", NonEmpty, ""),
    later("ldap_search_dn", Text, ""),
    later("ldap_search_password", Password, ""),
    later("ldap_filter", Text, ""),
    later("ldap_uid", NonEmpty, "cn"),
    later("ldap_scope", LDAP_SCOPE, "2"),
    later("ldap_timeout", Int { least: 1, most: 3_600 }, "5"),
    later("ldap_verify_cert", Bool, "true"),
    later("ldap_group_base_dn", Text, ""),
    later("ldap_group_search_filter", Text, ""),
    later("ldap_group_attribute_name", Text, ""),
    later("ldap_group_search_scope", LDAP_SCOPE, "2"),
    later("ldap_group_admin_dn", Text, ""),
    later("ldap_group_membership_attribute", Text, "memberof"),
    later("ldap_group_attach_parallel", Bool, "false"),

    later("oidc_name", Text, ""),
    later("oidc_endpoint", Text, ""),
    later("oidc_client_id", Text, ""),
    later("oidc_client_secret", Password, ""),
    later("oidc_groups_claim", Text, ""),
    later("oidc_admin_group", Text, ""),
    later("oidc_group_filter", Text, ""),
    later("oidc_scope", Text, ""),
    later("oidc_user_claim", Text, ""),
    later("oidc_verify_cert", Bool, "true"),
    later("oidc_auto_onboard", Bool, "false"),
    later("oidc_extra_redirect_parms", TextMap, "{}"),
    later("oidc_logout", Bool, "false"),

    later("uaa_endpoint", Text, ""),
    later("uaa_client_id", Text, ""),
    // Harbor keeps and shows this secret in clear.
    later("uaa_client_secret", Password, ""),
    later("uaa_verify_cert", Bool, "false"),

    later("http_authproxy_endpoint", Text, ""),
    later("http_authproxy_tokenreview_endpoint", Text, ""),
    later("http_authproxy_admin_groups", Text, ""),
    later("http_authproxy_admin_usernames", Text, ""),
    later("http_authproxy_verify_cert", Bool, "true"),
    later("http_authproxy_skip_search", Bool, "false"),
    later("http_authproxy_server_certificate", Text, ""),
];

/// The names alone.
pub const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut index = 0;
    while index < ALL.len() {
        names[index] = ALL[index].name;
        index += 1;
    }
    names
};
