// Connections of clients, on the server's thread alone.
#pragma once

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>

#include <memory>
#include <optional>

#include "net.h"

namespace orch::api::http {

// One client, as the rest of the thread sees it.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual void answer(Answer answer) = 0;
  virtual void send(std::string part, bool last) = 0;
};

// What connections need of the server. Outlives them.
struct Hall {
  Hall(NetSettings settings, Net::Events events)
      : settings(std::move(settings)), events(std::move(events)) {}

  uint64_t open(const std::shared_ptr<Connection>& connection, Request request) {
    request.id = ++lastId;
    asking[request.id] = connection;
    events.asked(std::move(request));
    return lastId;
  }
  void close(uint64_t id, bool early) {
    if (asking.erase(id) > 0 && early) events.gone(id);
  }
  std::shared_ptr<Connection> find(uint64_t id) {
    auto found = asking.find(id);
    return found == asking.end() ? nullptr : found->second;
  }

  void forgetAll() { asking.clear(); }

  const NetSettings settings;
  const Net::Events events;
  NetFigures figures;
  std::optional<boost::asio::ssl::context> tls;

 private:
  // Until they have their answer: no operation is under way for those that wait for one.
  std::map<uint64_t, std::shared_ptr<Connection>> asking;
  uint64_t lastId = 0;
};

// Reads requests and writes answers until it ends; owns itself.
void startConnection(Hall& hall, boost::asio::ip::tcp::socket socket);

}  // namespace orch::api::http
