//! Answers that are read to their end, if that is not too far.

use crate::error::all_of;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::client::HttpResponseBody;
use object_store::{Error, Result};

/// The whole of an answer that is not an object. `store`: the name of its service in errors.
pub(crate) async fn whole(store: &'static str, body: HttpResponseBody, max: usize) -> Result<Bytes> {
    let failed = |text: String| Error::Generic { store, source: text.into() };
    let (mut stream, mut data) = (body.bytes_stream(), BytesMut::new());
    while let Some(bytes) = stream.next().await {
        data.extend_from_slice(&bytes.map_err(|error| failed(all_of(&error)))?);
        if data.len() > max {
            return Err(failed(format!("the answer has more than {max} bytes")));
        }
    }
    Ok(data.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_answer_is_refused() {
        let body = || HttpResponseBody::from("12345".to_owned());
        assert_eq!(whole("x", body(), 5).await.unwrap(), "12345");
        assert!(whole("x", body(), 4).await.is_err());
    }
}
