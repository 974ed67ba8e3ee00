// Where what acts would run: asked of graphs that are built for the question, and leaves nothing behind.
#include "inside.h"

#include <cstring>

using namespace inside;

namespace {

#ifdef EQUIPOISE_EMULATED_DEVICE
constexpr bool has_device = true;
#else
constexpr bool has_device = false;
#endif

struct found {
    std::vector<eq_placement> nodes;
    int32_t                   n_splits[2] = {};

    std::vector<eq_placement> of(int32_t item) const {
        std::vector<eq_placement> own;
        std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(own),
                     [&](const eq_placement & each) { return each.item == item; });
        return own;
    }
};

found ask(eq_context * context, const std::vector<edit> & list, int32_t merge_layer = -1) {
    std::vector<eq_intervention> raw;
    for (const edit & one : list) {
        raw.push_back(one.get());
    }
    found   to;
    int32_t n = 0;
    to.nodes.resize(64);
    CHECK(eq_context_placements(context, raw.data(), (int32_t) raw.size(), merge_layer, to.nodes.data(),
                                (int32_t) to.nodes.size(), &n, to.n_splits) == EQ_OK,
          "%s", eq_last_error());
    to.nodes.resize((size_t) n);
    return to;
}

void check_place(const found & all, int32_t item, size_t n, bool on_device, const char * why) {
    const std::vector<eq_placement> own = all.of(item);
    CHECK(own.size() == (has_device ? n : 0), "item %d has %zu nodes, expected %zu", item, own.size(), n);
    for (const eq_placement & node : own) {
        CHECK((node.on_device != 0) == on_device && (node.why == nullptr) == on_device, "item %d, layer %d: %s", item,
              node.layer, node.why ? node.why : "on a device");
        CHECK(on_device || strstr(node.why, why), "item %d: %s", item, node.why);
    }
}

void every_node_says_where_it_runs(eq_model * model, int32_t flash_attn) {
    const session      ours(model, {flash_attn, 1, 32, 0, 1});
    const floats       before = read(ours, prompt());
    edit               one_head(EQ_ATTENTION_BIAS, 1, {2});
    const std::vector<uint8_t> heads = {0, 1, 0, 0};
    one_head.raw.heads   = heads.data();
    one_head.raw.n_heads = (int32_t) heads.size();
    const edit look(EQ_WEIGHTS_READ, 0, {1});
    const std::vector<edit> list = {{EQ_STEER_ADD, 0.5f, {0, 2}},
                                    steer(EQ_STEER_ADD, 0.5f, EQ_AT_NORM),
                                    {EQ_QUERY_SCALE, 0.5f, {1}},
                                    {EQ_ATTENTION_BIAS, 1, {0, 1}},
                                    one_head,
                                    {EQ_SILENCE, 0},
                                    look,
                                    drain_sinks(0.8f, {1})};
    const auto  n   = (int32_t) list.size();
    const found all = ask(ours, list, 1);
    check_place(all, 0, 2, true, "");
    check_place(all, 1, 2 * layers, true, "");
    check_place(all, 2, 1, true, "");
    check_place(all, 3, 2, true, "");
    check_place(all, 4, 1, false, "for each head");
    check_place(all, 5, 1, false, "input embeddings");
    check_place(all, 6, 1, false, "read");
    CHECK(all.of(7).size() == (has_device ? 2 : 0), "%zu nodes for sinks", all.of(7).size()); // what finds them too
    CHECK(all.of(n).size() == (has_device ? 1 : 0), "%zu nodes for the merge", all.of(n).size());
    check_place(all, n + 1, 2, true, "");
    CHECK(all.of(n + 2).size() == (has_device ? 1 : 0), "%zu nodes for best tokens", all.of(n + 2).size());
    CHECK(all.n_splits[0] >= 1 && all.n_splits[1] >= all.n_splits[0], "%d and %d splits", all.n_splits[0],
          all.n_splits[1]);

    // Where weights are read, they are edited on the CPU.
    const found read_too = ask(ours, {move_weights(0.05f, 0.8f), look});
    CHECK(read_too.of(0).size() == (has_device ? layers : 0), "%zu nodes", read_too.of(0).size());
    for (const eq_placement & node : read_too.of(0)) {
        CHECK((node.on_device != 0) == (node.layer != 1), "layer %d: %d", node.layer, node.on_device);
    }

    // What chooses keys is there too; the masks that hide them are not.
    const found chosen = ask(ours, {bias_attended(-8, 1)});
    CHECK(chosen.of(0).size() == (has_device ? 3 : 0), "%zu nodes for chosen keys", chosen.of(0).size());
    for (const eq_placement & node : chosen.of(0)) {
        const bool chooses = node.layer == 0;
        CHECK((node.on_device != 0) != chooses, "layer %d: %d", node.layer, node.on_device);
        CHECK(!chooses || strstr(node.why, "weights are read"), "layer %d: %s", node.layer, node.why);
    }

    const found none = ask(ours, {});
    check_place(none, 1, 2, true, "");
    CHECK(none.nodes.size() == (has_device ? 3 : 0), "%zu nodes are left of questions", none.nodes.size());
    forget(ours);
    check_same(read(ours, prompt()), before, "after questions");
}

void what_could_not_be_set_is_refused(eq_model * model) {
    const session   ours(model);
    const edit      beyond(EQ_STEER_ADD, 0.5f, {layers});
    eq_intervention raw         = beyond.get();
    eq_placement    node        = {};
    int32_t         n           = 0;
    int32_t         n_splits[2] = {};
    const int32_t   refused     = has_device ? EQ_BAD_INPUT : EQ_OK; // without a device there is nothing to look at
    CHECK(eq_context_placements(ours, &raw, 1, -1, &node, 1, &n, n_splits) == refused, "a layer that is not there");
    CHECK(eq_context_placements(ours, nullptr, 0, layers - 1, &node, 1, &n, n_splits) == refused, "a late merge");
    CHECK(eq_context_placements(ours, nullptr, 0, -1, &node, 1, &n, n_splits) == refused && n == (has_device ? 2 : 0),
          "%d nodes in one place", n);
    CHECK(eq_context_placements(ours, nullptr, 1, -1, &node, 1, &n, n_splits) == EQ_BAD_INPUT, "no list");
}

} // namespace

int main() {
    return run("placements", 29, [](eq_model * model, const char *) {
        for (const int32_t flash_attn : {0, 1}) {
            every_node_says_where_it_runs(model, flash_attn);
        }
        what_could_not_be_set_is_refused(model);
    });
}
