package dev.equipoise.runtime.serving;

import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.NextLogits;
import dev.equipoise.runtime.Observation;
import dev.equipoise.runtime.PreparedRequest;
import dev.equipoise.runtime.Request;
import java.util.List;

/** The steps of a ticket's procedure, carried out by a service among all other requests. */
final class TicketSteps implements Steps {
    private final EngineService service;
    private final Ticket<?> ticket;

    TicketSteps(final EngineService service, final Ticket<?> ticket) {
        this.service = service;
        this.ticket = ticket;
    }

    @Override
    public Model model() {
        return service.model();
    }

    @Override
    public Answer answer(final Request request) {
        return service.carryOut(ticket, prepare(request), false).answer();
    }

    @Override
    public Answer stream(final Request request) {
        return service.carryOut(ticket, prepare(request), true).answer();
    }

    @Override
    public void say(final int token, final String text) {
        ticket.offer(token, text, 1);
    }

    @Override
    public NextLogits logits(final Request request) {
        return service.carryOut(
                        ticket, PreparedRequest.forLogits(service.model(), service.engineOptions(), request), false)
                .generation()
                .logits();
    }

    @Override
    public List<NextLogits> rows(final Request request) {
        return service.carryOut(
                        ticket, PreparedRequest.forRows(service.model(), service.engineOptions(), request), false)
                .generation()
                .rows();
    }

    @Override
    public Observation observe(final Branch branch) {
        return service.carryOut(
                        ticket,
                        PreparedRequest.forObservation(service.model(), service.engineOptions(), branch),
                        false)
                .generation()
                .observation();
    }

    private PreparedRequest prepare(final Request request) {
        return PreparedRequest.of(service.model(), service.engineOptions(), request);
    }
}
