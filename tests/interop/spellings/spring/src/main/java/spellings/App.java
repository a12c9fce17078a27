package spellings;

import jakarta.servlet.http.HttpServletRequest;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.event.EventListener;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.support.ServletUriComponentsBuilder;

/** One handler behind a path that is to be protected, and how often it was reached; another tells what it sees of a request. */
@SpringBootApplication
@RestController
public class App {
    private final AtomicInteger hits = new AtomicInteger();

    public static void main(String[] arguments) {
        SpringApplication.run(App.class, arguments);
    }

    @EventListener
    void ready(ServletWebServerInitializedEvent event) {
        System.out.println("ready " + event.getWebServer().getPort());
    }

    @GetMapping("/admin/secret")
    String secret() {
        hits.incrementAndGet();
        return "secret";
    }

    @GetMapping("/hits")
    int hits() {
        return hits.get();
    }

    /** Where the framework believes that a request comes from, and what it would write into links. */
    @GetMapping("/seen")
    Map<String, Object> seen(HttpServletRequest request) {
        return Map.of(
                "client", request.getRemoteAddr(),
                "secure", request.isSecure(),
                "link", ServletUriComponentsBuilder.fromCurrentRequest().toUriString());
    }
}
