// Which nodes are needed only in branches of ifelse, and the cotangents that arrive there.
#pragma once
#include <kroton/tensor.h>

#include <unordered_map>

#include "compiler/ir/guard_path.h"
#include "compiler/ir/node.h"

namespace kroton {

// Something that is valid and wanted only where the conditions of the path hold.
struct BranchCotangent {
  GuardPath<const Node*> path;
  Tensor value;
};

class BranchPaths {
 public:
  using Path = GuardPath<const Node*>;

  // Of the nodes of `order`, which holds operands before users and all that `roots` reach.
  BranchPaths(const std::vector<Tensor>& order, std::span<const Tensor> roots);

  // The conditions under which any root needs the node. Where several branches do, but not always,
  // the last step is a new condition: that one of them is taken.
  const Path& of(const Node& node) const;
  // The conditions of the first or second value of an ifelse.
  Path of_value(const Node& ifelse, bool first) const;
  // The sum of what arrives at the node, valid under its path.
  Tensor sum(const Node& node, const std::vector<BranchCotangent>& arrived) const;
  // A node, or 0 where its path does not hold: what may be read in any case.
  Tensor confined(const Tensor& tensor) const { return sum({{of(tensor.node()), tensor}}, 0); }
  // The sum, valid everywhere: 0 where none of the branches is taken.
  Tensor sum(const std::vector<BranchCotangent>& arrived) const { return sum(arrived, 0); }

 private:
  struct Place {
    Path path;
    std::size_t shared = 0;  // the first steps, which everything that needs the node has in common
  };
  Tensor sum(const std::vector<BranchCotangent>& arrived, std::size_t depth) const;
  Tensor holds(const Path& path, std::size_t first) const;

  std::unordered_map<const Node*, Place> places_;  // of nodes with a path
  std::unordered_map<const Node*, Tensor> conditions_;
};

}  // namespace kroton
