//! Measures what the store holds, and keeps it for the space report.

use model::Result;

use crate::{Context, Outcome};

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let shown = cx.clone();
    let measured = cx
        .registry
        .measure_space(&cx.cancel, move |space| shown.show(space))
        .await?;
    let Some(space) = measured else {
        return Ok(Outcome::Interrupted);
    };
    cx.show(&space);
    Ok(Outcome::Done(format!(
        "{} bytes in {} files, of which {} bytes wait for collection and {} are in the trash",
        space.stored.bytes, space.stored.files, space.waiting.bytes, space.trash.bytes
    )))
}
