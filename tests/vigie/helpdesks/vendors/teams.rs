//! Where tickets of a team go, and fields of the operator's own, helpdesk by helpdesk.

use std::sync::Arc;

use firehose::helpdesk::{OsTicket, Store, Vendor};
use parking_lot::Mutex;
use serde_json::{Value, json};
use vigie::bridge::deliver::Counts;
use vigie::bridge::helpdesk::{Case, Helpdesk};
use vigie::bridge::questions::Questions;

use super::super::{advice_of, also, built_in, helpdesk, reference, values};
use super::{Desk, hosted, own};

/// What is so of one helpdesk.
struct Expected<'e> {
    /// Options of the team's tickets.
    options: Value,
    /// Where a ticket of no team is, and one of the team's, as the helpdesk keeps it.
    places: [Value; 2],
    place: fn(&Value) -> Value,
    /// A field, and where the helpdesk keeps what stands in it.
    field: &'e str,
    held: fn(&Value) -> Value,
    /// Options that are wrong, and what is said of them.
    wrong: &'e [(Value, &'e str)],
    /// What is said of a field that there is not; `None` where that is found when a ticket is made.
    unknown: Option<(&'e str, &'e str)>,
}

impl Expected<'_> {
    async fn check<V: Vendor>(&self, desk: Desk<V>) {
        let vigie = desk.with(json!({ "Billing": self.options }), &[self.field]);
        assert_eq!(advice_of(&vigie, None).await, Vec::<String>::new());
        assert_eq!(advice_of(&vigie, Some("Billing")).await, Vec::<String>::new());
        // What is the same for the team is not asked again.
        assert!(!vigie.questions(Some("Billing")).contains(&0));
        // The helpdesk's fields are empty, or left out, where there is nothing to say.
        let general = self.make(&vigie, json!({ "team": "Frontline" })).await;
        let billing = json!({ "team": "billing", "fields": { (self.field): "it's \"x\"" } });
        let billing = self.make(&vigie, billing).await;
        for ((case, _), place, held) in
            [(&general, &self.places[0], Value::Null), (&billing, &self.places[1], json!("it's \"x\""))]
        {
            let kept = desk.kept(case);
            assert_eq!((&(self.place)(&kept), (self.held)(&kept)), (place, held), "{kept}");
        }
        for (case, reference) in [&general, &billing] {
            let found = vigie.find(reference).await.unwrap();
            assert!(found.is_none() || found == Some(vec![case.id.clone()]), "{found:?}");
        }
        for (options, words) in self.wrong {
            let lost = desk.with(json!({ "Billing": options }), &[]);
            assert_eq!(advice_of(&lost, None).await, Vec::<String>::new());
            let said = advice_of(&lost, Some("Billing")).await;
            assert!(said.len() == 1 && said[0].contains(words), "{options}: {said:?}");
        }
        if let Some((name, words)) = self.unknown {
            let said = advice_of(&desk.with(json!({}), &[self.field, name]), None).await;
            assert!(said.len() == 1 && said[0].contains(words), "{said:?}");
        }
    }

    async fn make(&self, vigie: &Helpdesk, more: Value) -> (Case, String) {
        let reference = reference();
        let case = vigie.create(&also(&values(vigie, &reference, 1), more)).await.unwrap();
        (case, reference)
    }
}

/// `vigie bridge test` was right, and an administrator has changed something since.
#[tokio::test]
async fn what_is_not_right_any_more_is_the_last_error_until_it_is() {
    let desk = own::zammad().await;
    let counts = Arc::new(Mutex::new(Counts::default()));
    let ask = async |vigie: &Helpdesk| {
        Questions::new("desk", vigie, counts.clone(), Arc::new(|| 7)).ask().await;
        let counts = counts.lock();
        counts.errors.last().map(|(error, is_over)| (error.at_us, is_over, error.said.clone()))
    };
    let billing = json!({ "Billing": { "group": "Billing" } });
    let right = desk.with(billing.clone(), &["network"]);
    // Any ticket shows which attributes there are.
    desk.make(1).await;
    assert_eq!(ask(&right).await, None);
    let (at_us, is_over, said) = ask(&desk.with(billing, &["network", "nothing"])).await.unwrap();
    assert_eq!((at_us, is_over), (7, false));
    assert!(said.contains("not all of these attributes: vigie_ref, network, nothing"), "{said}");
    let lost = desk.with(json!({ "Billing": { "group": "Nowhere" } }), &[]);
    let said = ask(&lost).await.unwrap().2;
    assert!(said.starts_with("group, tickets of team Billing: ") && said.contains("Nowhere"), "{said}");
    // Of one that is away nothing is known.
    let nobody = helpdesk(built_in("zammad"), "http://127.0.0.1:9", "secret", json!({}));
    assert_eq!(ask(&nobody).await.unwrap().2, said);
    assert_eq!(ask(&right).await.unwrap(), (7, true, said));
    let stranger = desk.other("nobody's", json!({}));
    let (_, is_over, said) = ask(&stranger).await.unwrap();
    assert!(!is_over && said.contains("the helpdesk refuses: status 401; "), "{said}");
}

#[tokio::test]
async fn zammad_has_a_group_by_team() {
    let expected = Expected {
        options: json!({ "group": "Billing" }),
        places: [json!("Social"), json!("Billing")],
        place: |ticket| ticket["group"].clone(),
        field: "network",
        held: |ticket| ticket["network"].clone(),
        wrong: &[(json!({ "group": "Nowhere" }), "the group Nowhere")],
        unknown: Some(("nothing", "not all of these attributes: vigie_ref, network, nothing")),
    };
    expected.check(own::zammad().await).await;
}

#[tokio::test]
async fn chatwoot_has_a_team_and_an_inbox_by_team() {
    let expected = Expected {
        options: json!({ "team": "3", "inbox": 8 }),
        places: [json!([null, 5]), json!([3, 8])],
        place: |conversation| json!([conversation["meta"]["team"]["id"], conversation["inbox_id"]]),
        field: "network",
        held: |conversation| conversation["custom_attributes"]["network"].clone(),
        wrong: &[(json!({ "team": 4 }), "could not be found"), (json!({ "inbox": 6 }), "inbox 6 is not")],
        unknown: Some(("nothing", "by their keys: network, nothing")),
    };
    expected.check(own::chatwoot().await).await;
}

#[tokio::test]
async fn glpi_has_an_entity_a_category_and_a_group_by_team() {
    let expected = Expected {
        options: json!({ "entity": 2, "category": 11, "group": 5 }),
        places: [json!([0, 0, null]), json!([2, 11, 5])],
        place: |ticket| json!([ticket["entities_id"], ticket["itilcategories_id"], ticket["_group"]]),
        // GLPI has no fields that its API fills.
        field: "nothing",
        held: |_| Value::Null,
        wrong: &[
            (json!({ "entity": 4 }), "the entity 4"),
            (json!({ "category": 13 }), "Item not found"),
            (json!({ "group": 7 }), "Item not found"),
            (json!({ "group": 9 }), "no group 9 that tickets may be assigned to"),
        ],
        unknown: None,
    };
    let desk = own::glpi().await;
    assert!(!desk.vigie.preset().takes_fields());
    let vigie = desk.with(json!({ "Billing": expected.options }), &[]);
    for (team, place) in ["", "Billing"].into_iter().zip(&expected.places) {
        let (case, _) = expected.make(&vigie, json!({ "team": team })).await;
        assert_eq!((expected.place)(&desk.kept(&case)), *place);
    }
    for (options, words) in expected.wrong {
        let said = advice_of(&desk.with(json!({ "Billing": options }), &[]), Some("Billing")).await;
        assert!(said.len() == 1 && said[0].contains(words), "{options}: {said:?}");
    }
}

#[tokio::test]
async fn zendesk_has_a_group_by_team() {
    let expected = Expected {
        options: json!({ "group": 22 }),
        places: [Value::Null, json!(22)],
        place: |ticket| ticket["group_id"].clone(),
        field: "360001",
        held: |ticket| match ticket["custom_fields"].as_array().map(Vec::as_slice) {
            Some([field]) if field["id"] == 360_001 => field["value"].clone(),
            _ => Value::Null,
        },
        wrong: &[(json!({ "group": 23 }), "Not found")],
        unknown: Some(("360009", "Not found")),
    };
    expected.check(hosted::zendesk().await).await;
}

#[tokio::test]
async fn freshdesk_has_a_group_by_team() {
    let expected = Expected {
        options: json!({ "group": 32 }),
        places: [Value::Null, json!(32)],
        place: |ticket| ticket["group_id"].clone(),
        field: "cf_network",
        held: |ticket| ticket["custom_fields"]["cf_network"].clone(),
        wrong: &[(json!({ "group": 33 }), "404")],
        unknown: None,
    };
    expected.check(hosted::freshdesk().await).await;
    // Not every agent may look at groups.
    let desk = hosted::freshdesk().await;
    desk.fake.with(|freshdesk| freshdesk.is_admin = false);
    assert_eq!(advice_of(&desk.other("secret", json!({ "group": 31 })), None).await, Vec::<String>::new());
}

#[tokio::test]
async fn jira_has_a_request_type_a_desk_and_a_project_by_team() {
    let expected = Expected {
        options: json!({ "project": "BIL", "desk": 4, "request_type": 31 }),
        places: [json!(["SUP", "25"]), json!(["BIL", "31"])],
        place: |issue| json!([issue["_project"], issue["_kind"]]),
        field: "10060",
        held: |issue| issue["fields"]["customfield_10060"].clone(),
        wrong: &[
            (json!({ "request_type": 27 }), "The request type does not exist"),
            (json!({ "project": "NO" }), "no such resource"),
        ],
        unknown: Some((
            "10061",
            "has not all of these fields, by the numbers of customfield_N: 10060, 10061",
        )),
    };
    expected.check(hosted::jira().await).await;
    // One request type has the field, the other has not.
    let desk = hosted::jira().await;
    // A key that is wrong keeps no ticket from being found.
    let (case, told) = desk.make(0).await;
    let mistyped = desk.with(json!({ "Billing": { "project": "NO" } }), &[]);
    assert_eq!(mistyped.find(told["ref"].as_str().unwrap()).await.unwrap(), Some(vec![case.id]));
    let vigie = desk.with(json!({ "Billing": { "request_type": 26 } }), &["10060"]);
    let said = advice_of(&vigie, Some("Billing")).await;
    assert!(said.len() == 1 && said[0].contains("the request type 26 has not all"), "{said:?}");
}

#[tokio::test]
async fn osticket_has_a_topic_by_team() {
    let expected = Expected {
        options: json!({ "topic": 3 }),
        places: [json!(2), json!(3)],
        place: |ticket| ticket["topic"].clone(),
        field: "network",
        held: |ticket| ticket["network"].clone(),
        wrong: &[],
        unknown: None,
    };
    let store: fn(&mut OsTicket) -> &mut Store = |osticket| &mut osticket.store;
    let desk = Desk::new(OsTicket::default(), "osticket", json!({ "topic": 2 }), "/api/tickets.json", store);
    expected.check(desk.await).await;
}
