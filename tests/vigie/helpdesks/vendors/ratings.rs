//! How likely the customer is to recommend the company, where the operator has a field for it.

use firehose::helpdesk::Vendor;
use serde_json::{Value, json};

use super::super::read;
use super::Desk;
use super::hosted::{freshdesk, jira, zendesk};
use super::own::{chatwoot, zammad};

/// The customer has answered, as the helpdesk's field holds it; who has no such option reads none.
async fn reads<V: Vendor>(desk: Desk<V>, option: &str, given: impl Fn(Value) -> Value) {
    let (case, _) = desk.make(0).await;
    let asking = desk.other("secret", json!({ "recommendation": option }));
    assert_eq!(read(&asking, &case).await.recommendation, None, "{}: not answered", desk.kind);
    for (there, expected) in
        [(json!(9), Some(9)), (json!("0"), Some(0)), (json!(null), None), (json!("much"), None)]
    {
        desk.agent(&case, given(there.clone()));
        assert_eq!(read(&asking, &case).await.recommendation, expected, "{}: {there}", desk.kind);
        assert_eq!(read(&desk.vigie, &case).await.recommendation, None, "{}: nobody asks", desk.kind);
    }
}

#[tokio::test]
async fn what_customers_answer_is_read_where_there_is_a_field_for_it() {
    reads(zammad().await, "nps", |given| json!({ "nps": given })).await;
    reads(chatwoot().await, "nps", |given| json!({ "custom_attributes": { "nps": given } })).await;
    reads(
        zendesk().await,
        "360",
        |given| json!({ "custom_fields": [{ "id": 1, "value": 5 }, { "id": 360, "value": given }] }),
    )
    .await;
    reads(freshdesk().await, "cf_nps", |given| json!({ "custom_fields": { "cf_nps": given } })).await;
    let status = json!({ "name": "Open", "statusCategory": { "key": "new" } });
    let desk = jira().await;
    reads(desk, "10060", |given| json!({ "fields": { "customfield_10060": given, "status": status } })).await;
}

/// Jira gives the fields that it is asked for and no others.
#[tokio::test]
async fn jira_is_asked_for_the_field() {
    let desk = jira().await;
    let (case, _) = desk.make(0).await;
    let asked = || {
        let log = desk.fake.log();
        let fields = |call: &firehose::helpdesk::Called| call.request.query("fields").map(str::to_owned);
        log.calls.iter().rev().find_map(fields).unwrap()
    };
    read(&desk.vigie, &case).await;
    assert_eq!(asked(), "status,assignee,summary,priority");
    read(&desk.other("secret", json!({ "recommendation": 10060 })), &case).await;
    assert_eq!(asked(), "status,assignee,summary,priority,customfield_10060");
}
