// Data sets and what deals them in batches.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

namespace kt = kroton;
using kt::data::Batch;
using kt::data::Dataset;
using kt::data::Loader;

// Example k is the number k, its label 10 k.
Dataset numbers(std::int64_t count) {
  std::vector<double> x(static_cast<std::size_t>(count));
  std::iota(x.begin(), x.end(), 0.0);
  std::vector<std::int64_t> labels;
  for (std::int64_t k = 0; k < count; ++k) labels.push_back(10 * k);
  return kt::data::from_arrays(kt::Array::from(x), kt::Array::from(labels));
}

// The examples of an epoch, batch by batch.
std::vector<std::vector<double>> epoch_of(Loader& loader, std::uint64_t number,
                                          std::int64_t first = 0) {
  loader.start(number, first);
  std::vector<std::vector<double>> batches;
  while (const auto batch = loader.next()) {
    const auto x = batch->x.data<double>();
    const auto labels = batch->labels.data<std::int64_t>();
    REQUIRE(x.size() == labels.size());
    for (std::size_t k = 0; k < x.size(); ++k) CHECK(labels[k] == std::int64_t(10 * x[k]));
    batches.emplace_back(x.begin(), x.end());
  }
  CHECK_FALSE(loader.next().has_value());
  return batches;
}

}  // namespace

TEST_CASE("loader: several threads may take batches") {
  for (const int makers : {0, 1, 2}) {
    CAPTURE(makers);
    Loader loader(numbers(1000), {.batch = 3, .threads = makers, .ahead = 2});
    for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
      loader.start(epoch);
      std::vector<std::vector<double>> taken(3);
      std::vector<std::thread> takers;
      for (auto& own : taken) {
        takers.emplace_back([&] {
          while (const auto batch = loader.next()) {
            for (const double x : batch->x.data<double>()) own.push_back(x);
          }
        });
      }
      for (std::thread& taker : takers) taker.join();
      std::set<double> all;
      std::size_t count = 0;
      for (const auto& own : taken) {
        all.insert(own.begin(), own.end());
        count += own.size();
      }
      CHECK(count == 1000);
      CHECK(all.size() == 1000);
    }
  }
}

TEST_CASE("loader: the same batches with any number of threads") {
  for (const std::int64_t count : {0, 1, 3, 17, 1000}) {
    CAPTURE(count);
    Loader alone(numbers(count), {.batch = 4, .seed = 7});
    Loader threaded(numbers(count), {.batch = 4, .seed = 7, .threads = 3, .ahead = 2});
    std::vector<std::vector<double>> before;
    for (std::uint64_t number = 0; number < 3; ++number) {
      const auto expected = epoch_of(alone, number);
      CHECK(epoch_of(threaded, number) == expected);
      std::multiset<double> all;
      for (const auto& batch : expected) all.insert(batch.begin(), batch.end());
      CHECK(all.size() == static_cast<std::size_t>(count));
      CHECK(std::set<double>(all.begin(), all.end()).size() == all.size());
      if (count >= 17) CHECK(expected != before);
      before = expected;
    }
    // An epoch is where it is, whatever came before; and one can go on in its middle.
    if (count == 1000) {
      const auto again = epoch_of(threaded, 1, 100);
      Loader fresh(numbers(count), {.batch = 4, .seed = 7});
      auto expected = epoch_of(fresh, 1);
      CHECK(again == std::vector(expected.begin() + 100, expected.end()));
    }
  }
}

TEST_CASE("loader: an epoch that is left in its middle") {
  Loader loader(numbers(1000), {.batch = 10, .threads = 2});
  Loader alone(numbers(1000), {.batch = 10});
  for (std::uint64_t number = 0; number < 20; ++number) {
    loader.start(number);
    REQUIRE(loader.next().has_value());
  }
  CHECK(epoch_of(loader, 3) == epoch_of(alone, 3));
}

TEST_CASE("loader: an epoch as a range") {
  Loader loader(numbers(10), {.batch = 4, .seed = 7});
  const auto expected = epoch_of(loader, 3);
  for (int again = 0; again < 2; ++again) {
    std::vector<std::vector<double>> batches;
    for (const Batch& batch : loader.epoch(3)) {
      const auto x = batch.x.data<double>();
      batches.emplace_back(x.begin(), x.end());
    }
    CHECK(batches == expected);
  }
  Loader nothing(numbers(0));
  for (const Batch& batch : nothing.epoch(0)) CHECK(batch.x.size() == -1);
}

TEST_CASE("loader: in order, and without the smaller last batch") {
  Loader loader(numbers(5), {.batch = 2, .shuffle = false});
  CHECK(epoch_of(loader, 0) == std::vector<std::vector<double>>{{0, 1}, {2, 3}, {4}});
  CHECK(loader.count() == 5);
  CHECK(loader.batches() == 3);
  Loader whole(numbers(5), {.batch = 2, .shuffle = false, .drop_last = true});
  CHECK(epoch_of(whole, 0) == std::vector<std::vector<double>>{{0, 1}, {2, 3}});
  CHECK(whole.count() == 4);
  CHECK(whole.batches() == 2);
}

TEST_CASE("loader: sequences of about one length together") {
  Dataset data = numbers(1003);
  for (std::int64_t k = 0; k < data.count; ++k) data.lengths.push_back(1 + k * 7919 % 100);
  Loader loader(data, {.batch = 10, .by_length = true, .threads = 2});
  const auto batches = epoch_of(loader, 0);
  CHECK(batches != epoch_of(loader, 1));
  std::set<double> all;
  for (const auto& batch : batches) {
    std::int64_t least = 1000, largest = 0;
    for (const double k : batch) {
      all.insert(k);
      least = std::min(least, data.lengths[static_cast<std::size_t>(k)]);
      largest = std::max(largest, data.lengths[static_cast<std::size_t>(k)]);
    }
    CHECK(largest - least <= 3);
  }
  CHECK(all.size() == 1003);
}

TEST_CASE("loader: what making a batch throws arrives where it is asked for") {
  for (const int threads : {0, 2}) {
    Dataset data = numbers(10);
    data.make = [make = data.make](kt::data::Rows rows, std::uint64_t epoch) {
      if (rows[0] == 4) throw std::runtime_error("a file is gone");
      return make(rows, epoch);
    };
    Loader loader(data, {.batch = 2, .shuffle = false, .threads = threads});
    loader.start(0);
    CHECK(loader.next().has_value());
    CHECK(loader.next().has_value());
    CHECK_THROWS_WITH_AS(loader.next(), "a file is gone", std::runtime_error);
    CHECK_FALSE(loader.next().has_value());
    loader.start(0, 3);
    CHECK(loader.next()->x.data<double>()[0] == 6);
  }
}

TEST_CASE("data sets: parts and changes") {
  const auto [train, test] = kt::data::split(numbers(100), 0.2, 5);
  CHECK(train.count == 80);
  CHECK(test.count == 20);
  std::set<double> all;
  for (const Dataset& side : {train, test}) {
    Loader loader(side, {.batch = 7, .shuffle = false});
    double before = -1;
    for (const auto& batch : epoch_of(loader, 0)) {
      for (const double x : batch) {
        CHECK(x > before);
        before = x;
        all.insert(x);
      }
    }
  }
  CHECK(all.size() == 100);

  const Dataset changed = kt::data::mapped(kt::data::subset(numbers(9), {8, 2}),
                                           [](Batch& batch, kt::data::Rows rows, std::uint64_t e) {
                                             for (double& x : batch.x.data<double>())
                                               x += 0.5 + static_cast<double>(e);
                                             CHECK(rows.size() == 2);
                                           });
  const std::vector<std::uint32_t> both{0, 1};
  const Batch batch = changed.make(both, 3);
  CHECK(batch.x.data<double>()[0] == 11.5);
  CHECK(batch.x.data<double>()[1] == 5.5);
}

TEST_CASE("data sets: rows of a view with strides") {
  std::vector<float> memory(12);
  std::iota(memory.begin(), memory.end(), 0.0F);
  const Dataset data = kt::data::from_arrays(kt::Array::view(memory.data(), {3, 2}, {4, 1}),
                                             kt::Array::view(memory.data(), {3}, {3}));
  const std::vector<std::uint32_t> rows{2, 0};
  const Batch batch = data.make(rows, 0);
  CHECK(kt::array_equal(batch.x, kt::Array::from({{8.0F, 9.0F}, {0.0F, 1.0F}})));
  CHECK(kt::array_equal(batch.labels, kt::Array::from({6.0F, 0.0F})));
}

TEST_CASE("data sets: pictures") {
  kt::data::Images images{{0, 51, 102, 255}, 2, 1, 2, 1};
  const Dataset data = kt::data::from_images(images, {3, 4});
  const std::vector<std::uint32_t> second{1};
  const Batch batch = data.make(second, 0);
  CHECK(batch.x.shape() == kt::Shape{1, 1, 1, 2});
  CHECK(batch.x.data<float>()[0] == doctest::Approx(0.4));
  CHECK(batch.x.data<float>()[1] == 1);
  CHECK(batch.labels.data<std::int64_t>()[0] == 4);
}

TEST_CASE("loader: bad input") {
  using kt::data::from_arrays;
  CHECK_THROWS_AS(from_arrays(kt::Array(1.0), kt::Array(1.0)), kt::ShapeError);
  CHECK_THROWS_WITH_AS(
      from_arrays(kt::Array::zeros({2, 3}), kt::Array::zeros({3})),
      "from_arrays: x is (2, 3), labels are (3,): both have an example in each row",
      kt::ShapeError);
  CHECK_THROWS_AS(kt::data::from_images({{1}, 1, 1, 1, 1}, {}), kt::ShapeError);
  CHECK_THROWS_AS(kt::data::subset(numbers(2), {2}), kt::ValueError);
  CHECK_THROWS_AS(kt::data::split(numbers(2), 0.1, 1), kt::ValueError);
  CHECK_THROWS_AS(kt::data::split(numbers(2), 1, 1), kt::ValueError);
  CHECK_THROWS_AS(Loader(numbers(2), {.batch = 0}), kt::ValueError);
  CHECK_THROWS_AS(Loader(numbers(2), {.threads = -1}), kt::ValueError);
  CHECK_THROWS_AS(Loader(numbers(2), {.threads = 1, .ahead = 0}), kt::ValueError);
  CHECK_THROWS_AS(Loader(numbers(2), {.by_length = true}), kt::ValueError);
  CHECK_THROWS_AS(Loader(Dataset{}, {}), kt::ValueError);
  Loader loader(numbers(3), {.batch = 2});
  CHECK_FALSE(loader.next().has_value());
  CHECK_THROWS_AS(loader.start(0, 3), kt::ValueError);
}
