// Data sets of sequences, in batches.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <set>
#include <vector>

namespace {

namespace kt = kroton;
using kt::data::Batch;
using kt::data::Dataset;
using kt::data::Loader;
using Tokens = std::vector<std::int64_t>;
using Lists = std::vector<Tokens>;

Tokens of(const kt::Array& array) {
  const auto values = array.data<std::int64_t>();
  return {values.begin(), values.end()};
}

Batch batch_of(const Dataset& data, const std::vector<std::uint32_t>& rows) {
  return data.make(rows, 0);
}

}  // namespace

TEST_CASE("windows: each with what follows its tokens") {
  const kt::Array tokens = kt::Array::arange(10, kt::i64);
  const Dataset data = kt::data::windows(tokens, 3);
  CHECK(data.count == 3);
  const Batch batch = batch_of(data, {2, 0});
  CHECK(batch.x.shape() == kt::Shape{2, 3});
  CHECK(of(batch.x) == Tokens{6, 7, 8, 0, 1, 2});
  CHECK(of(batch.labels) == Tokens{7, 8, 9, 1, 2, 3});
  CHECK_FALSE(batch.mask.has_value());

  const Dataset each = kt::data::windows(tokens.cast(kt::i32), 3, {.stride = 1});
  CHECK(each.count == 7);
  CHECK(of(batch_of(each, {6}).labels) == Tokens{7, 8, 9});
  CHECK(kt::data::windows(tokens, 9).count == 1);
  CHECK(kt::data::windows(tokens, 1, {.stride = 100}).count == 1);
  CHECK(batch_of(data, {}).x.shape() == kt::Shape{0, 3});

  CHECK_THROWS_WITH_AS(
      kt::data::windows(tokens, 10),
      "windows: a window of 10 tokens and the one that follows do not fit in 10 tokens",
      kt::ValueError);
  CHECK_THROWS_WITH_AS(kt::data::windows(tokens, 0), "windows: length is 0", kt::ValueError);
  CHECK_THROWS_WITH_AS(kt::data::windows(tokens, 1, {.stride = -1}), "windows: stride is -1",
                       kt::ValueError);
  CHECK_THROWS_WITH_AS(kt::data::windows(kt::Array::zeros({2, 3}, kt::i64), 1),
                       "windows: expected tokens (n), got (2, 3)", kt::ShapeError);
  CHECK_THROWS_WITH_AS(kt::data::windows(kt::Array::zeros({3}), 1),
                       "windows: expected tokens of i64 or i32, got f32", kt::TypeError);
  CHECK_THROWS_WITH_AS(batch_of(data, {3}), "windows: row 3 is out of range for 3 examples",
                       kt::ValueError);
}

TEST_CASE("sequences: filled up to the longest of a batch") {
  const Lists lists = {{1, 2, 3}, {}, {4}, {5, 6}};
  const Dataset data = kt::data::sequences(lists, Tokens{10, 11, 12, 13});
  CHECK(data.count == 4);
  CHECK(data.lengths == Tokens{3, 0, 1, 2});
  const Batch batch = batch_of(data, {3, 1, 2});
  CHECK(batch.x.shape() == kt::Shape{3, 2});
  CHECK(of(batch.x) == Tokens{5, 6, 0, 0, 4, 0});
  CHECK(of(batch.labels) == Tokens{13, 11, 12});
  CHECK(kt::array_equal(batch.mask.value(),
                        kt::Array::from({{1.0F, 1.0F}, {0.0F, 0.0F}, {1.0F, 0.0F}})));
  CHECK(batch_of(data, {1}).x.shape() == kt::Shape{1, 0});

  const Dataset tagged =
      kt::data::sequences(lists, Lists{{1, 0, 1}, {}, {2}, {3, 3}}, {.padding = 9, .longest = 2});
  CHECK(tagged.lengths == Tokens{2, 0, 1, 2});
  const Batch tags = batch_of(tagged, {0, 2});
  CHECK(of(tags.x) == Tokens{1, 2, 4, 9});
  CHECK(of(tags.labels) == Tokens{1, 0, 2, -1});
  CHECK(kt::data::sequences(Lists{}, Tokens{}).count == 0);
  CHECK(kt::data::sequences(Lists{}, Lists{}).make({}, 0).labels.shape() == kt::Shape{0, 0});

  CHECK_THROWS_WITH_AS(kt::data::sequences(lists, Tokens{1}),
                       "sequences: 4 sequences and labels of 1", kt::ShapeError);
  CHECK_THROWS_WITH_AS(kt::data::sequences(lists, Lists{{1, 1, 1}, {}, {}, {1, 1}}),
                       "sequences: sequence 2 has 1 tokens and 0 labels", kt::ShapeError);
  CHECK_THROWS_WITH_AS(kt::data::sequences(lists, Tokens(4), {.longest = -1}),
                       "sequences: longest is -1", kt::ValueError);
  CHECK_THROWS_WITH_AS(batch_of(data, {4}), "sequences: row 4 is out of range for 4 examples",
                       kt::ValueError);
}

TEST_CASE("sequences: batches of about one length") {
  Lists lists;
  Tokens labels;
  for (std::int64_t k = 0; k < 1003; ++k) {
    lists.emplace_back(static_cast<std::size_t>(1 + k * 7919 % 100), k);
    labels.push_back(k);
  }
  const Dataset data = kt::data::sequences(lists, labels);
  const auto padding_of = [&](bool by_length, int threads) {
    Loader loader(data, {.batch = 10, .by_length = by_length, .threads = threads});
    loader.start(0);
    std::set<std::int64_t> seen;
    std::int64_t padding = 0;
    while (const auto batch = loader.next()) {
      const auto mask = batch->mask->data<float>();
      const std::int64_t steps = batch->x.shape()[1];
      for (std::int64_t row = 0; row < batch->x.shape()[0]; ++row) {
        const std::int64_t k = batch->labels.data<std::int64_t>()[static_cast<std::size_t>(row)];
        seen.insert(k);
        const auto at = static_cast<std::size_t>(row * steps);
        const auto length = lists[static_cast<std::size_t>(k)].size();
        for (std::size_t step = 0; step < static_cast<std::size_t>(steps); ++step) {
          REQUIRE((mask[at + step] != 0) == (step < length));
          REQUIRE(batch->x.data<std::int64_t>()[at + step] == (step < length ? k : 0));
        }
        padding += steps - static_cast<std::int64_t>(length);
      }
    }
    CHECK(seen.size() == 1003);
    return padding;
  };
  const std::int64_t sorted = padding_of(true, 2);
  CHECK(sorted == padding_of(true, 0));
  CHECK(sorted < 1003 * 2);
  CHECK(padding_of(false, 0) > 1003 * 20);
}

TEST_CASE("sequences: a recurrent layer sees no padding") {
  const Lists lists = {{1, 2, 3, 1, 2}, {2}, {3, 3}, {1, 2, 3}};
  const Dataset data = kt::data::sequences(lists, Tokens{0, 1, 0, 1});
  auto x = kt::matrix("x", kt::i64);
  auto mask = kt::matrix("mask", kt::f32);
  kt::nn::seed(3);
  kt::nn::Embedding embedding(4, 3);
  kt::nn::Gru gru(5);
  auto state = kt::function({x, mask}, gru(embedding(x), mask));
  const Batch all = batch_of(data, {0, 1, 2, 3});
  const kt::Array together = state(all.x, *all.mask);
  for (std::uint32_t k = 0; k < 4; ++k) {
    const Batch one = batch_of(data, {k});
    CHECK(kt::all_close(together.row(k), state(one.x, *one.mask).row(0)));
  }

  // Labels of padding are left out by their number.
  const Dataset tagged = kt::data::sequences(lists, lists, {.padding = 0});
  const Batch tags = batch_of(tagged, {0, 1});
  auto labels = kt::matrix("labels", kt::i64);
  auto loss = kt::function({x, labels},
                           kt::nn::cross_entropy(embedding(x), labels - 1, {.ignored_label = -2}));
  const double both = loss(tags.x, tags.labels).item<double>();
  const Batch first = batch_of(tagged, {0}), second = batch_of(tagged, {1});
  const double expected = (5 * loss(first.x, first.labels).item<double>() +
                           loss(second.x, second.labels).item<double>()) /
                          6;
  CHECK(both == doctest::Approx(expected).epsilon(1e-5));
}
