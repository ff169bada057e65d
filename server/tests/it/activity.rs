//! Pulls and pushes, as they are counted.

use db::{
    Db,
    activity::{Counts, Of, Span},
};
use model::time::Clock;

use crate::harness::{Image, server::on_sqlite_with};

async fn counted(data: &std::path::Path) -> Counts {
    let config = db::Config {
        engine: db::Engine::Sqlite(data.join("seawall.sqlite")),
        node: "reader".to_owned(),
        pool_size: 1,
        timeout: std::time::Duration::from_secs(5),
        pinned: model::settings::Pinned::default(),
        trust: outbound::Trust::default(),
        ways: db::Ways::default(),
    };
    let db = Db::open(&config, Clock::default()).await.expect("opened");
    let points = {
        let mut reader = db.reader().await.expect("a reader");
        let series = db::activity::series(&mut reader, Of::System, Span::Day, 0, i64::MAX);
        series.await.expect("a series")
    };
    db.close().await;
    let mut sum = Counts::default();
    for point in points {
        sum.add(point.counts);
    }
    sum
}

#[test]
fn what_was_pushed_and_pulled_is_counted_when_the_server_stops() {
    on_sqlite_with(&[], async |seawall| {
        let (admin, image) = (seawall.admin(), Image::new("a"));
        let digest = admin.push("library/app", "v1", &image).await;
        for reference in ["v1", &digest] {
            admin.pull("library/app", reference, &image).await;
        }
        // A HEAD with its GET is one pull; one of what is not there is none.
        let path = format!("/v2/library/app/manifests/{digest}");
        admin.head(&path).await.expect(200);
        admin
            .head("/v2/library/app/manifests/none")
            .await
            .expect(404);
        seawall.stop();
        let counts = counted(seawall.data()).await;
        assert_eq!((counts.pushes, counts.pulls), (1, 2));
        let manifest = image.manifest.len() as i64;
        assert!(counts.bytes_in > manifest, "{counts:?}");
        assert!(counts.bytes_out > 2 * manifest, "{counts:?}");
    });
}
