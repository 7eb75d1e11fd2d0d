/* SPDX-License-Identifier: Apache-2.0 */

#include "lab/lab_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "home/card.h"
#include "home/spec.h"

void lab_plan_free(LabPlan *plan) {
    for (size_t i = 0; i < plan->n_vms; i++)
        vm_spec_free(&plan->vms[i].spec);
    free(plan->networks);
    free(plan->vms);
    *plan = (LabPlan){0};
}

int lab_name_check(const char *name, Error *error) {
    static const char *const words[] = {"ls", "inspect", "show", "rm", "remove", "delete"};
    int r = name_check("lab", name, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (!str_equal(name, words[i]))
            continue;
        error_set(error, ERROR_USAGE, EINVAL, "a lab cannot be called %s", name);
        error_set_hint(error,
                       "ramet lab snapshot %s is a verb of its own; choose another name "
                       "with --name",
                       name);
        return -EINVAL;
    }
    return 0;
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* What is called `name` in its list before `index`. */
static bool comes_before(const json_t *list, size_t index, const char *name) {
    for (size_t i = 0; i < index; i++)
        if (str_equal(text_of(json_array_get(list, i), "name"), name))
            return true;
    return false;
}

static int check_name(const char *what, const json_t *list, size_t index, Error *error) {
    const char *name = str_or_empty(text_of(json_array_get(list, index), "name"));
    int r = name_check(what, name, error);
    if (r < 0)
        return r;
    return comes_before(list, index, name)
               ? error_set(error, ERROR_USAGE, EEXIST, "there are two %ss %s", what, name)
               : 0;
}

/* ---- networks ---- */

static int plan_network(const char *lab, const json_t *list, size_t index, LabNetworkPlan *network,
                        Error *error) {
    const json_t *asked = json_array_get(list, index);
    int r = check_name("network", list, index, error);
    if (r < 0)
        return r;
    (void)snprintf(network->name, sizeof(network->name), "%s/%s", lab, text_of(asked, "name"));
    network->options =
        (NetworkOptions){.name = network->name,
                         .backend = "switch", /* nothing of it is in the host: others may have its
                                                 addresses */
                         .subnet = text_of(asked, "subnet"),
                         .isolated = json_is_true(json_object_get(asked, "isolated")),
                         .no_uplink = json_is_false(json_object_get(asked, "uplink"))};
    return 0;
}

/* ---- VMs ---- */

static int place_card(const char *lab, const json_t *networks, VmCard *card, Error *error) {
    _cleanup_free_ char *whole = str_format("%s/%s", lab, card->network);
    if (!vm_network_is_named(card->network))
        return 0;
    if (!comes_before(networks, json_array_size(networks), card->network))
        return error_set(error, ERROR_USAGE, ENOENT, "there is no network %s in this lab",
                         card->network);
    str_set(card->network, whole);
    return 0;
}

static int place(const char *lab, const json_t *networks, VmSpec *spec, Error *error) {
    _cleanup_free_ char *name = str_format("%s/%s", lab, spec->name);
    int r = 0;
    str_set(spec->name, name);
    if (*spec->wait_for && !spec->wait_timeout_s)
        spec->wait_timeout_s = LAB_READY_SECONDS;
    for (size_t i = 0; r >= 0 && i < spec->cards.count; i++)
        r = place_card(lab, networks, &spec->cards.items[i], error);
    return r;
}

static int plan_vm(const char *lab, const json_t *description, size_t index, LabVmPlan *vm,
                   Error *error) {
    const json_t *list = json_object_get(description, "vms"), *asked = json_array_get(list, index);
    _cleanup_json_ json_t *spec = json_copy((json_t *)asked);
    int r = check_name("VM", list, index, error);
    if (r < 0)
        return r;
    vm->run = text_of(asked, "run");
    (void)json_object_del(spec, "run");
    r = vm_spec_parse(spec, &vm->spec, error);
    vm->spec.runs_line = vm->run != NULL;
    if (r >= 0)
        r = place(lab, json_object_get(description, "networks"), &vm->spec, error);
    return r < 0 ? error_add_context(error, "VM %s", text_of(asked, "name")) : 0;
}

/* ---- all of it ---- */

static int check_counts(const json_t *networks, const json_t *vms, Error *error) {
    if (json_array_size(vms) < 1 || json_array_size(vms) > LAB_VMS_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a lab has 1 to %d VMs", LAB_VMS_MAX);
    if (json_array_size(networks) > LAB_NETWORKS_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a lab has at most %d networks",
                         LAB_NETWORKS_MAX);
    return 0;
}

static bool asks_for_address(const VmSpec *spec) {
    for (size_t i = 0; i < spec->cards.count; i++)
        if (*spec->cards.items[i].ip)
            return true;
    return false;
}

static void put_asking_first(LabPlan *plan) {
    for (size_t i = 0; i < plan->n_vms; i++) {
        LabVmPlan asking = plan->vms[i];
        if (!asks_for_address(&asking.spec))
            continue;
        memmove(&plan->vms[plan->n_asking + 1], &plan->vms[plan->n_asking],
                (i - plan->n_asking) * sizeof(*plan->vms));
        plan->vms[plan->n_asking++] = asking;
    }
}

static int fill(const char *lab, const json_t *description, LabPlan *plan, Error *error) {
    const json_t *networks = json_object_get(description, "networks");
    int r = 0;
    for (size_t i = 0; r >= 0 && i < json_array_size(networks); i++)
        r = plan_network(lab, networks, i, &plan->networks[plan->n_networks++], error);
    for (size_t i = 0; r >= 0 && i < json_array_size(json_object_get(description, "vms")); i++) {
        vm_spec_init(&plan->vms[plan->n_vms++].spec);
        r = plan_vm(lab, description, i, &plan->vms[i], error);
    }
    put_asking_first(plan);
    return r;
}

int lab_plan_make(const char *lab, const json_t *description, LabPlan *plan, Error *error) {
    const json_t *networks = json_object_get(description, "networks");
    const json_t *vms = json_object_get(description, "vms");
    LabPlan made = {0};
    int r = check_counts(networks, vms, error);
    if (r < 0)
        return r;
    made.networks = calloc(json_array_size(networks) + 1, sizeof(*made.networks));
    made.vms = calloc(json_array_size(vms), sizeof(*made.vms));
    if (!made.networks || !made.vms)
        abort();
    r = fill(lab, description, &made, error);
    if (r < 0)
        lab_plan_free(&made);
    else
        *plan = made;
    return r;
}
