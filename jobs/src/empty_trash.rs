//! Ends what has been in the trash long enough. Its contents go with the next collection.

use model::Result;

use crate::{Context, Outcome};

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let gone = cx.registry.empty_trash(&cx.cancel).await?;
    if cx.is_cancelled() {
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done(format!("{gone} things in the trash ended")))
}
