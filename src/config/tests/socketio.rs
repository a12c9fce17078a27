use super::accepted;

#[test]
fn closest_namespace_takes_a_name_in_any_order() {
    let named = |name: &str| format!("[[socketio.namespace]]\nname = \"{name}\"\n");
    let names = ["/pipeline/{id}", "/{kind}/all", "/pipeline/all", "/"];
    for turn in 0..names.len() {
        let mut turned = names;
        turned.rotate_left(turn);
        let file: String = turned.into_iter().map(named).collect();
        let socketio = accepted(&format!("[socketio]\n{file}")).config.socketio;
        let socketio = socketio.expect("there");
        let found = |name: &str| {
            let (namespace, params) = socketio.namespace(name)?;
            let values: Vec<_> = params.into_iter().map(|(_, value)| value).collect();
            Some(format!("{} {values:?}", namespace.name.as_str()))
        };
        assert_eq!(found("/pipeline/all").as_deref(), Some("/pipeline/all []"));
        assert_eq!(
            found("/pipeline/7").as_deref(),
            Some("/pipeline/{id} [\"7\"]")
        );
        assert_eq!(found("/x/all").as_deref(), Some("/{kind}/all [\"x\"]"));
        assert_eq!(found("/").as_deref(), Some("/ []"));
        assert_eq!(found("/x"), None);
    }
}
