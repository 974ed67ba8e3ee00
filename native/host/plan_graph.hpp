// What plan.cpp (one decode, and what its seams do) and contrast_nodes.cpp (the nodes on logits) share.
#pragma once

#include "plan.hpp"

#include <cstdint>
#include <map>
#include <vector>

namespace eq {

// The inputs and intermediate results of one built graph.
struct plan::graph {
    explicit graph(plan * of) : owner(of), acting(of->acting.make_graph()) {}
    ~graph() { owner->acting.free_graph(acting); }
    graph(const graph &)             = delete;
    graph & operator=(const graph &) = delete;

    plan * const         owner;
    interventions::graph * const acting;
    int64_t              rows       = 0;
    ggml_tensor *        table      = nullptr; // eqk::group_table, then eqk::choice_list where tokens are found
    ggml_tensor *        statistics = nullptr; // eqk::group_statistics
    ggml_tensor *        left       = nullptr; // what the graph leaves behind: logits, combined
    ggml_tensor *        ids        = nullptr; // of each row that is drawn, the token
    std::vector<int32_t> host_table;
    std::vector<int32_t> table_of_group; // index of a group in the tables, or -1 when its branches are not here
    std::vector<ggml_tensor *> below;    // of a graph that is not whole: its nodes
    std::map<int32_t, ggml_tensor *> shown; // by layer: rows to be kept, copied
};

} // namespace eq
