//! Where credentials for S3 come from when the configuration names none: the environment, the files of AWS' own programs,
//! or the machine (containers, instances), in the order in which those programs look.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use object_store::{
    CredentialProvider,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential},
};
use parking_lot::Mutex;

use crate::{Error, Result, objects::config::Config};

/// What the crate reads of the environment itself.
const BY_THE_CRATE: &[(&str, &str)] = &[
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "aws_web_identity_token_file"),
    ("AWS_ROLE_ARN", "aws_role_arn"),
    ("AWS_ROLE_SESSION_NAME", "aws_role_session_name"),
    ("AWS_ENDPOINT_URL_STS", "aws_endpoint_url_sts"),
    (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "aws_container_credentials_relative_uri",
    ),
    (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "aws_container_credentials_full_uri",
    ),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "aws_container_authorization_token_file",
    ),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "aws_metadata_endpoint"),
];

/// Tells a builder where credentials are.
pub(crate) fn lay_into(mut builder: AmazonS3Builder, config: &Config) -> Result<AmazonS3Builder> {
    if let Some(keys) = &config.keys {
        builder = builder
            .with_access_key_id(&keys.id)
            .with_secret_access_key(&keys.secret);
        return Ok(match &keys.session_token {
            Some(token) => builder.with_token(token),
            None => builder,
        });
    }
    let said: HashMap<&str, &str> = config
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let ids = (
        said.get("AWS_ACCESS_KEY_ID"),
        said.get("AWS_SECRET_ACCESS_KEY"),
    );
    if let (Some(id), Some(secret)) = ids {
        builder = builder
            .with_access_key_id(*id)
            .with_secret_access_key(*secret);
        return Ok(match said.get("AWS_SESSION_TOKEN") {
            Some(token) => builder.with_token(*token),
            None => builder,
        });
    }
    if !said.contains_key("AWS_WEB_IDENTITY_TOKEN_FILE")
        && let Some(profile) = Profile::find(&said)
    {
        return Ok(builder.with_credentials(Arc::new(profile)));
    }
    for (variable, key) in BY_THE_CRATE {
        if let Some(value) = said.get(variable) {
            let key: AmazonS3ConfigKey = key.parse().map_err(|_| {
                Error::Invalid((*variable).to_owned(), "variable of the environment")
            })?;
            builder = builder.with_config(key, *value);
        }
    }
    Ok(builder)
}

/// A section of a credentials file, read again when the file changes.
#[derive(Debug)]
struct Profile {
    file: PathBuf,
    name: String,
    read: Mutex<Option<(SystemTime, Arc<AwsCredential>)>>,
}

impl Profile {
    /// None where there is no such file.
    fn find(said: &HashMap<&str, &str>) -> Option<Self> {
        let file = match said.get("AWS_SHARED_CREDENTIALS_FILE") {
            Some(file) => PathBuf::from(file),
            None => PathBuf::from(said.get("HOME")?).join(".aws/credentials"),
        };
        let is_named = said.contains_key("AWS_SHARED_CREDENTIALS_FILE");
        let name = said.get("AWS_PROFILE").copied().unwrap_or("default");
        (is_named || file.exists()).then(|| Self {
            file,
            name: name.to_owned(),
            read: Mutex::new(None),
        })
    }

    fn refuse(&self, why: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: format!("`{}`, profile `{}`: {why}", self.file.display(), self.name).into(),
        }
    }
}

#[async_trait]
impl CredentialProvider for Profile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // A look at a small local file, as rarely as it changes.
        let changed = fs::metadata(&self.file).and_then(|meta| meta.modified());
        let changed = changed.map_err(|error| self.refuse(&error.to_string()))?;
        let mut read = self.read.lock();
        if let Some((then, known)) = &*read
            && *then == changed
        {
            return Ok(known.clone());
        }
        let text = fs::read_to_string(&self.file);
        let text = text.map_err(|error| self.refuse(&error.to_string()))?;
        let section = section(&text, &self.name);
        let key = |name: &str| section.get(name).map(|value| (*value).to_owned());
        let (Some(key_id), Some(secret_key)) =
            (key("aws_access_key_id"), key("aws_secret_access_key"))
        else {
            return Err(self.refuse("it names no aws_access_key_id and aws_secret_access_key"));
        };
        let credential = Arc::new(AwsCredential {
            key_id,
            secret_key,
            token: key("aws_session_token"),
        });
        *read = Some((changed, credential.clone()));
        Ok(credential)
    }
}

/// The keys of one section of an INI file.
fn section<'a>(text: &'a str, name: &str) -> HashMap<&'a str, &'a str> {
    let mut keys = HashMap::new();
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            is_ours = header.trim().trim_start_matches("profile ").trim() == name;
        } else if is_ours
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            keys.insert(key.trim(), value.trim());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::objects::patient::Patient;

    #[test]
    fn a_profile_is_its_own_section_alone() {
        let text = "# x\n[default]\naws_access_key_id = A\naws_secret_access_key=B/=\n\n[ profile other ]\naws_access_key_id=C\n; aws_session_token=no\n";
        let default = section(text, "default");
        assert_eq!(default.get("aws_access_key_id"), Some(&"A"));
        assert_eq!(default.get("aws_secret_access_key"), Some(&"B/="));
        let other = section(text, "other");
        assert_eq!(other.get("aws_access_key_id"), Some(&"C"));
        assert_eq!(other.len(), 1);
        assert!(section(text, "none").is_empty());
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let write = |id: &str, age: u64| {
            fs::write(
                &file,
                format!("[p]\naws_access_key_id={id}\naws_secret_access_key=s\n"),
            )
            .unwrap();
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(then)
                .unwrap();
        };
        write("one", 1000);
        let path = file.display().to_string();
        let said = HashMap::from([
            ("AWS_SHARED_CREDENTIALS_FILE", path.as_str()),
            ("AWS_PROFILE", "p"),
        ]);
        let profile = Profile::find(&said).unwrap();
        assert_eq!(profile.get_credential().await.unwrap().key_id, "one");
        write("two", 2000);
        assert_eq!(profile.get_credential().await.unwrap().key_id, "two");
        fs::remove_file(&file).unwrap();
        let patient = Patient::new(Arc::new(profile));
        assert!(patient.get_credential().await.is_err());
    }
}
