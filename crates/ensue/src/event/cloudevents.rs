//! The CloudEvents 1.0 JSON format, for people, HTTP and other languages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::{Codec, Envelope, InvalidEvent};

impl Envelope {
    /// The event in the CloudEvents 1.0 JSON format.
    ///
    /// The topic travels as the extension `topic`; a JSON payload becomes `data`, every
    /// other one `data_base64`.
    pub fn to_cloudevent(&self) -> Value {
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        put("specversion", json!("1.0"));
        put("id", json!(self.id()));
        put("source", json!(self.source()));
        put("type", json!(self.kind()));
        put("topic", json!(self.topic()));
        if !self.key().is_empty() {
            put("subject", json!(self.key()));
        }
        put("time", json!(self.time()));
        put("datacontenttype", json!(self.content_type()));
        put("dataschema", json!(self.data_schema()));
        put("dataversion", json!(self.version()));
        put("correlationid", json!(self.correlation()));
        if let Some(causation) = self.causation() {
            put("causationid", json!(causation));
        }
        if let Some(trace) = self.trace() {
            put("traceparent", json!(trace.to_string()));
        }
        for (name, value) in self.extensions() {
            put(name, json!(value));
        }
        match self.codec() {
            Ok(Codec::Json) => match serde_json::from_slice::<Value>(self.payload()) {
                Ok(data) => put("data", data),
                Err(_) => put("data_base64", json!(BASE64.encode(self.payload()))),
            },
            _ => put("data_base64", json!(BASE64.encode(self.payload()))),
        };
        Value::Object(event)
    }

    /// Reads the CloudEvents 1.0 JSON format; `topic` is used when the event does not name one.
    ///
    /// # Errors
    /// [`InvalidEvent`] when an attribute is missing, malformed or too long.
    pub fn from_cloudevent(event: &Value, topic: Option<&str>) -> Result<Self, InvalidEvent> {
        let Value::Object(event) = event else {
            return Err(InvalidEvent::Malformed("a CloudEvent is a JSON object"));
        };
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        if text("specversion").is_some_and(|version| version != "1.0") {
            return Err(InvalidEvent::Malformed("`specversion` is not `1.0`"));
        }
        let topic = text("topic")
            .or(topic)
            .ok_or(InvalidEvent::Missing("topic"))?;
        let kind = text("type").ok_or(InvalidEvent::Missing("type"))?;
        let mut builder = Self::builder(topic, kind).key(text("subject").unwrap_or_default());
        if let Some(id) = text("id") {
            builder = builder.id(id);
        }
        if let Some(source) = text("source") {
            builder = builder.source(source);
        }
        if let Some(time) = text("time") {
            let time = time
                .parse()
                .map_err(|_| InvalidEvent::Malformed("`time` is not RFC 3339"))?;
            builder = builder.time(time);
        }
        if let Some(correlation) = text("correlationid").filter(|id| Some(*id) != text("id")) {
            builder = builder.correlation(correlation);
        }
        if let Some(causation) = text("causationid") {
            builder = builder.causation(causation);
        }
        if let Some(trace) = text("traceparent") {
            let trace = trace
                .parse()
                .map_err(|_| InvalidEvent::Malformed("`traceparent` is not a W3C traceparent"))?;
            builder = builder.trace(trace);
        }
        if let Some(version) = event.get("dataversion") {
            let version = version
                .as_u64()
                .and_then(|version| u16::try_from(version).ok());
            let version =
                version.ok_or(InvalidEvent::Malformed("`dataversion` is not a number"))?;
            builder = builder.version(version);
        }
        for (name, value) in event.iter().filter(|(name, _)| !is_attribute(name)) {
            builder = builder.extension(name, value.as_str().map_or(value.to_string(), Into::into));
        }
        let content_type = text("datacontenttype").unwrap_or(Codec::Json.content_type());
        let payload = match (event.get("data"), text("data_base64")) {
            (Some(data), None) => data.to_string().into_bytes(),
            (None, Some(data)) => BASE64
                .decode(data)
                .map_err(|_| InvalidEvent::Malformed("`data_base64` is not standard base64"))?,
            (None, None) => Vec::new(),
            (Some(_), Some(_)) => {
                return Err(InvalidEvent::Malformed(
                    "it has both `data` and `data_base64`",
                ));
            }
        };
        builder.opaque_payload(content_type, payload).build()
    }
}

fn is_attribute(name: &str) -> bool {
    const ATTRIBUTES: [&str; 15] = [
        "specversion",
        "id",
        "source",
        "type",
        "topic",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "dataversion",
        "correlationid",
        "causationid",
        "traceparent",
        "data",
        "data_base64",
    ];
    ATTRIBUTES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trips_with_every_attribute() {
        let event = Envelope::builder("orders", "order.created")
            .key("o-1")
            .id("id-1")
            .version(2)
            .correlation("id-0")
            .causation("id-0")
            .trace(crate::TraceContext::root())
            .extension("tenant", "acme")
            .payload(Codec::Json, br#"{"cents":1}"#.to_vec())
            .build()
            .unwrap();
        let json = event.to_cloudevent();
        assert_eq!(json["data"]["cents"], 1);
        assert_eq!(json["subject"], "o-1");
        assert_eq!(Envelope::from_cloudevent(&json, None).unwrap(), event);
    }

    #[test]
    fn binary_payloads_travel_as_base64() {
        let event = Envelope::builder("t", "e")
            .payload(Codec::Cbor, vec![0, 255])
            .build()
            .unwrap();
        let json = event.to_cloudevent();
        assert_eq!(json["data_base64"], "AP8=");
        assert_eq!(Envelope::from_cloudevent(&json, None).unwrap(), event);
    }

    #[test]
    fn what_is_not_a_cloudevent_is_refused() {
        for bad in [
            json!([]),
            json!({"type": "e"}),
            json!({"topic": "t"}),
            json!({"topic": "t", "type": "e", "specversion": "0.3"}),
            json!({"topic": "t", "type": "e", "time": "yesterday"}),
            json!({"topic": "t", "type": "e", "data": 1, "data_base64": "AA=="}),
            json!({"topic": "t", "type": "e", "data_base64": "?"}),
        ] {
            assert!(Envelope::from_cloudevent(&bad, None).is_err(), "{bad}");
        }
    }
}
