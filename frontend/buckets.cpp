#include "frontend/buckets.h"

#include <kroton/ops.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "compiler/ops/collective.h"
#include "compiler/ops/records.h"
#include "compiler/ops/rules.h"

namespace kroton::detail {
namespace {

using Tensors = std::vector<Tensor>;

// Of a node: how many exchanges, and how many nodes, the longest chain has that it needs. Two
// exchanges of one level do not depend on each other.
struct Depth {
  int level = 0;
  int nodes = 0;
};
using Depths = std::unordered_map<const Node*, Depth>;

Depths depths_of(const Tensors& order) {
  Depths depths;
  for (const Tensor& t : order) {
    Depth depth;
    for (const Tensor& input : t.node().inputs) {
      const Depth& other = depths.at(&input.node());
      depth = {std::max(depth.level, other.level), std::max(depth.nodes, other.nodes)};
    }
    depth.level += ops::is_exchange(t.node()) ? 1 : 0;
    ++depth.nodes;
    depths[&t.node()] = depth;
  }
  return depths;
}

// Means over devices as what they are made of; what a single device would exchange with itself as
// what it gives.
Tensors expanded(const Tensors& roots) {
  std::unordered_map<const Node*, Tensor> now;
  const auto of = [&](const Tensor& t) { return now.at(&t.node()); };
  const auto is_alone = [](const Node& node) {
    return ops::is_result_of_exchange(node) && ops::exchange_of(node.inputs[0].node()).size == 1;
  };
  for (const Tensor& t : topological_order(roots)) {
    const Node& node = t.node();
    Tensors inputs;
    bool same = true;
    for (const Tensor& input : node.inputs) {
      inputs.push_back(of(input));
      same = same && &inputs.back().node() == &input.node();
    }
    const LineScope scope(node.line, "");
    Tensor& value = now[&node];
    if (&node.op == &replicate_op) {
      value = ops::replicas_of(node) == 1 ? inputs[0] : node.op.expand(inputs, node.attributes);
    } else if (is_alone(node)) {
      value = inputs[0].node().inputs[1];
    } else {
      value = same ? t : make_node(node.op, std::move(inputs), node.attributes, node.line);
    }
  }
  Tensors result;
  for (const Tensor& root : roots) result.push_back(of(root));
  return result;
}

// Exchanges that are made together; the place of each in the joined operand.
struct Bucket {
  std::vector<Tensor> calls;
  std::int64_t bytes = 0;
  Tensor joined;
};

class Bucketed {
 public:
  Bucketed(const Tensors& roots, std::int64_t bytes)
      : order_(topological_order(roots)), depths_(depths_of(order_)) {
    fill(bytes);
    // Of each level the exchanges first, which need what is below it, then what needs them.
    std::stable_sort(order_.begin(), order_.end(), [&](const Tensor& a, const Tensor& b) {
      const auto key = [&](const Tensor& t) {
        return std::tuple(depths_.at(&t.node()).level, ops::is_exchange(t.node()) ? 0 : 1);
      };
      return key(a) < key(b);
    });
    for (const Tensor& t : order_) rebuild(t);
  }

  Tensor of(const Tensor& t) const { return now_.at(&t.node()); }

 private:
  void fill(std::int64_t limit) {
    std::map<std::tuple<int, Collective::Combine, DType>, Tensors> alike;
    for (const Tensor& t : order_) {
      if (!ops::is_exchange(t.node())) continue;
      const Collective what = ops::exchange_of(t.node());
      if (what.kind != Collective::Kind::all_reduce || bytes_of(t) < 0) continue;
      alike[{depths_.at(&t.node()).level, what.combine, what.dtype}].push_back(t);
    }
    for (auto& [key, calls] : alike) {
      std::stable_sort(calls.begin(), calls.end(), [&](const Tensor& a, const Tensor& b) {
        return depths_.at(&a.node()).nodes < depths_.at(&b.node()).nodes;
      });
      bool is_open = false;
      for (const Tensor& call : calls) {
        const std::int64_t bytes = bytes_of(call);
        if (bytes >= limit) continue;
        if (!is_open) buckets_.emplace_back();
        Bucket& bucket = buckets_.back();
        bucket.calls.push_back(call);
        bucket.bytes += bytes;
        is_open = bucket.bytes < limit;
      }
    }
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      if (buckets_[b].calls.size() < 2) continue;
      std::int64_t start = 0;
      for (const Tensor& call : buckets_[b].calls) {
        places_[&call.node()] = {b, start};
        start += call.node().inputs[1].shape(0).constant();
      }
    }
  }

  // -1: known at the call only.
  static std::int64_t bytes_of(const Tensor& call) {
    const Tensor& x = call.node().inputs[1];
    return x.shape(0).is_constant() ? x.shape(0).constant() * size_of(x.dtype()) : -1;
  }

  // The sum of all of the bucket.
  Tensor joined(Bucket& bucket) {
    if (bucket.joined) return bucket.joined;
    Tensors operands;
    for (const Tensor& call : bucket.calls) operands.push_back(of(call.node().inputs[1]));
    const Node& first = bucket.calls[0].node();
    const LineScope scope(first.line);
    const Tensor all = concatenate(operands, 0);
    bucket.joined = ops::exchanged(ops::exchange_of(first), all, all.shape());
    return bucket.joined;
  }

  void rebuild(const Tensor& t) {
    const Node& node = t.node();
    Tensor& value = now_[&node];
    if (places_.contains(&node)) {
      value = t;  // which its result does not use
      return;
    }
    if (ops::is_result_of_exchange(node)) {
      const auto place = places_.find(&node.inputs[0].node());
      if (place != places_.end()) {
        const LineScope scope(node.line, "");
        const auto& [bucket, start] = place->second;
        value = ops::strided_slice(joined(buckets_[bucket]), {start}, t.shape(), {1});
        return;
      }
    }
    Tensors inputs;
    bool same = true;
    for (const Tensor& input : node.inputs) {
      inputs.push_back(of(input));
      same = same && &inputs.back().node() == &input.node();
    }
    const LineScope scope(node.line, "");
    value = same ? t : make_node(node.op, std::move(inputs), node.attributes, node.line);
  }

  Tensors order_;
  Depths depths_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const Node*, std::pair<std::size_t, std::int64_t>> places_;
  std::unordered_map<const Node*, Tensor> now_;
};

}  // namespace

std::vector<Tensor> with_buckets(const std::vector<Tensor>& roots, std::int64_t bytes) {
  const Tensors plain = expanded(roots);
  if (bytes <= 0) return plain;
  const Bucketed bucketed(plain, bytes);
  Tensors result;
  for (const Tensor& root : plain) result.push_back(bucketed.of(root));
  return result;
}

std::vector<std::size_t> by_depth(const std::vector<Tensor>& roots) {
  const Depths depths = depths_of(topological_order(roots));
  std::vector<std::size_t> order(roots.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return depths.at(&roots[a].node()).nodes < depths.at(&roots[b].node()).nodes;
  });
  return order;
}

}  // namespace kroton::detail
