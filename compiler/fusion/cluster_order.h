// Which clusters come before which: the graph of those that read what others store. It is asked at
// each step of fusion, so that a question must not cost a walk over all of it where it need not.
#pragma once
#include <cstdint>
#include <vector>

namespace kroton {

class ClusterOrder {
 public:
  // Clusters are numbered from 0 in the order in which they are added.
  void add();
  // `reader` reads what `cluster` stores. Nothing happens where that is known.
  void add_reader(int cluster, int reader);
  // What reads b, or what b reads, reads a or is read by it from now on.
  void merge(int a, int b);

  // In ascending order.
  const std::vector<int>& readers_of(int cluster) const { return at(readers_, cluster); }
  // Whether what one of `from` stores leads to what `to` reads, or one of them is `to`.
  bool lead_to(const std::vector<int>& from, int to);
  // Whether one of the two has to run before the other. Asked of one `a` and many others, only the
  // first question looks for the answer.
  bool are_ordered(int a, int b);

 private:
  using Lists = std::vector<std::vector<int>>;

  static const std::vector<int>& at(const Lists& lists, int cluster) {
    return lists[static_cast<std::size_t>(cluster)];
  }
  static void insert(std::vector<int>& list, int cluster);
  static void replace(std::vector<int>& list, int from, int to);
  // Marks what is reached from the cluster along the lists, itself left out.
  static void mark(const Lists& lists, int cluster, std::vector<bool>& marks);

  Lists readers_, read_by_;          // by cluster, ascending
  std::vector<std::uint32_t> seen_;  // by cluster: the last question of lead_to that came by
  std::uint32_t question_ = 0;
  std::vector<int> pending_;
  int around_ = -1;  // what the marks below are of; -1: none
  std::vector<bool> after_, before_;
};

}  // namespace kroton
